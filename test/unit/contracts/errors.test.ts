import { describe, expect, it } from 'vitest';
import { errorCatalogue, isPodlineError, PodlineError } from '../../../runtime/contracts/errors.js';
import { wireErrorSchema } from '../../../runtime/contracts/shard.js';

describe('an error', () => {
  it('takes hint and retry from the catalogue, unless it has its own', () => {
    const plain = new PodlineError('PDL_SCRATCH_FULL', 'full');
    expect(plain).toMatchObject({ hint: errorCatalogue.PDL_SCRATCH_FULL.hint, retry: 'later', place: undefined });
    expect(new PodlineError('PDL_SCRATCH_FULL', 'full', { hint: 'Other.', retry: 'never' })).toMatchObject({
      hint: 'Other.',
      retry: 'never',
    });
  });

  it('keeps code, place, hint and log tail over the wire', () => {
    const error = new PodlineError('PDL_STAGE_FAILED', 'no', { place: 'clean', hint: 'Look.', logTail: 'Traceback' });
    const wire = wireErrorSchema.parse(JSON.parse(JSON.stringify(error.toWire())));
    const back = PodlineError.fromWire(wire);
    expect(back.toWire()).toEqual(error.toWire());
    expect(isPodlineError(back, 'PDL_STAGE_FAILED')).toBe(true);
    expect(isPodlineError(back, 'PDL_STAGE_DIED')).toBe(false);
  });

  it('stays what it is, and anything else becomes one with its cause', () => {
    const error = new PodlineError('PDL_QUEUE_FULL', 'full');
    expect(PodlineError.from(error, 'PDL_INTERNAL')).toBe(error);
    const cause = new TypeError('odd');
    expect(PodlineError.from(cause, 'PDL_STAGE_LOAD', { place: 'x' })).toMatchObject({
      code: 'PDL_STAGE_LOAD',
      message: 'odd',
      place: 'x',
      cause,
    });
    expect(PodlineError.from('text')).toMatchObject({ code: 'PDL_INTERNAL', message: 'text' });
  });

  it('of a code that is not known is refused at the border', () => {
    expect(wireErrorSchema.safeParse({ code: ['PDL', 'NOPE'].join('_'), message: '', hint: '', retry: 'never' }).success).toBe(
      false,
    );
  });
});
