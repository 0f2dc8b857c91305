import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Lineage } from '../../../runtime/contracts/block.js';
import type { ReadingStage } from '../../../runtime/line/live-columns.js';
import {
  isSomethingGone,
  knownStreams,
  neededStreams,
  planResume,
  type HeldStream,
  type Holding,
  type HoldingPlace,
  type ResumePlan,
  type ResumeQuestion,
} from '../../../runtime/line/resume.js';

/** input → clean → (airports ‖ delays) → join → report */
const stages = [
  { name: 'clean', after: ['input'] },
  { name: 'airports', after: ['clean'] },
  { name: 'delays', after: ['clean'] },
  { name: 'join', after: ['airports', 'delays'] },
  { name: 'report', after: ['join'] },
];
const all = ['input', ...stages.map(({ name }) => name)];

const lineage = (stream: string, version = 'v1'): Lineage => ({
  digest: `${stream}@${version}`,
  stage: stream,
  version,
  parameters: 'p',
  inputs: {},
});
const wanted = new Map(all.map((stream) => [stream, lineage(stream)]));

const whole = (stream: string, version?: string): HeldStream => ({
  stream,
  lineage: lineage(stream, version),
  sealed: true,
  blocks: 4,
  rows: 40,
  bytes: 400,
});
const partial = (stream: string, consumed?: number): HeldStream => ({
  ...whole(stream),
  sealed: false,
  blocks: consumed ?? 1,
  consumed,
});
const holding = (...streams: HeldStream[]): Holding => ({ streams, refused: [] });

const plan = (held: ResumeQuestion['held'], resumeFrom?: string): ResumePlan =>
  planResume({ stages, results: ['report'], wanted, held, resumeFrom });
const actions = (of: ResumePlan): Record<string, string> =>
  Object.fromEntries(
    of.decisions.map((decision) => [decision.stream, decision.action === 'restore' ? decision.from : decision.action]),
  );
const why = (of: ResumePlan, stream: string): string => of.decisions.find((decision) => decision.stream === stream)?.why ?? '';

describe('planResume', () => {
  it('makes everything when nothing is held', () => {
    const made = plan({});
    expect(actions(made)).toEqual({
      input: 'make',
      clean: 'make',
      airports: 'make',
      delays: 'make',
      join: 'make',
      report: 'make',
    });
    expect(made.resumedFrom).toBe('source');
    expect(why(made, 'clean')).toBe('clean runs from its beginning: nothing is held of it');
  });

  it('restores what the rest reads and leaves out what only restored stages needed', () => {
    const made = plan({ ssd: holding(whole('input'), whole('clean'), whole('airports')) });
    expect(actions(made)).toEqual({ input: 'skip', clean: 'ssd', airports: 'ssd', delays: 'make', join: 'make', report: 'make' });
    expect(why(made, 'input')).toBe('input is not needed: what reads it (clean) is done or not needed');
    expect(made.resumedFrom).toBe('ssd');
  });

  it('takes the nearer of two whole copies', () => {
    const made = plan({ scratch: holding(whole('join')), ssd: holding(whole('join')), volume: holding(whole('join')) });
    expect(actions(made)['join']).toBe('keep');
    expect(actions(plan({ ssd: holding(whole('join')), volume: holding(whole('join')) }))['join']).toBe('ssd');
  });

  it('takes a whole copy that is far before a partial one that is near', () => {
    const made = plan({ scratch: holding(partial('join', 3)), volume: holding(whole('join')) });
    expect(actions(made)['join']).toBe('volume');
    expect(made.drop).toEqual(['join']);
    expect(made.resumedFrom).toBe('volume');
  });

  it('goes on with the partial copy that has come farthest, and keeps its inputs', () => {
    const made = plan({
      ssd: holding(partial('join', 5), whole('airports'), whole('delays')),
      volume: holding(partial('join', 2)),
    });
    expect(actions(made)).toEqual({ input: 'skip', clean: 'skip', airports: 'ssd', delays: 'ssd', join: 'ssd', report: 'make' });
    expect(why(made, 'join')).toBe('join is restored from the SSD (5 blocks, 5 of its input done) and goes on from there');
    expect(knownStreams(made)).toContainEqual({ stream: 'join', sealed: false });
  });

  it('does not go on with a partial copy whose progress is unknown', () => {
    const made = plan({ scratch: holding(partial('clean')) });
    expect(actions(made)['clean']).toBe('make');
    expect(made.drop).toEqual(['clean']);
    expect(why(made, 'clean')).toContain('how far it had come was not recorded');
  });

  it('refuses another version, says so, and falls back to the farther place', () => {
    const made = plan({ ssd: holding(whole('join', 'v0')), volume: holding(whole('join')) });
    expect(actions(made)['join']).toBe('volume');
    expect(made.refused).toEqual([
      {
        stream: 'join',
        place: 'ssd',
        why: 'the checkpoint of join on the SSD is not used: stage join has changed (version v0 → v1)',
      },
    ]);
  });

  it('gives the refusal as the reason for running again', () => {
    const made = plan({ volume: holding(whole('report', 'v0')) });
    expect(why(made, 'report')).toBe(
      'report runs from its beginning: the checkpoint of report on the volume is not used: stage report has changed (version v0 → v1)',
    );
  });

  it('passes on what a place could not give', () => {
    const made = plan({ ssd: { streams: [], refused: ['SSD: manifest-1.1.json is torn'] } });
    expect(made.refused).toEqual([{ stream: '', place: 'ssd', why: 'SSD: manifest-1.1.json is torn' }]);
    expect(why(made, 'input')).toBe('the source is read: SSD: manifest-1.1.json is torn');
  });

  it('runs again from the stage that was asked for, although it is held', () => {
    const everything = holding(...all.map((stream) => whole(stream)));
    const made = plan({ scratch: everything }, 'delays');
    expect(actions(made)).toMatchObject({ airports: 'keep', delays: 'make', join: 'make', report: 'make', clean: 'keep' });
    expect(made.drop).toEqual(['delays', 'join', 'report']);
    expect(why(made, 'delays')).toBe('delays runs from its beginning: it was asked to resume from here');
    expect(why(made, 'join')).toContain('it follows stage delays, which runs again');
  });

  it('drops what the scratch holds of a stage that is gone', () => {
    expect(plan({ scratch: holding(whole('sorted')) }).drop).toEqual(['sorted']);
  });

  it('leaves whole streams in the scratch that nothing needs, and says that they are there', () => {
    const made = plan({ scratch: holding(whole('clean'), whole('report')) });
    expect(actions(made)).toMatchObject({ clean: 'keep', report: 'keep', join: 'skip' });
    expect(made.drop).toEqual([]);
    expect(why(made, 'clean')).toContain('it is in the scratch still');
  });

  it('always ends with the results, takes only what is wanted, and never leaves a running stage without its input', () => {
    const state = fc.constantFrom('none', 'whole', 'partial', 'other', 'unknown');
    const place = fc.tuple(...all.map(() => state));
    fc.assert(
      fc.property(
        place,
        place,
        place,
        fc.option(fc.constantFrom(...all), { nil: undefined }),
        (scratch, ssd, volume, resumeFrom) => {
          const held: Partial<Record<HoldingPlace, Holding>> = {};
          for (const [name, states] of [
            ['scratch', scratch],
            ['ssd', ssd],
            ['volume', volume],
          ] as const) {
            held[name] = holding(
              ...states.flatMap((at, index) => {
                const stream = all[index] ?? '';
                if (at === 'none') return [];
                if (at === 'whole') return [whole(stream)];
                return [at === 'other' ? whole(stream, 'v0') : partial(stream, at === 'partial' ? 2 : undefined)];
              }),
            );
          }
          const made = plan(held, resumeFrom);
          const byStream = new Map(made.decisions.map((decision) => [decision.stream, decision]));
          expect([...byStream.keys()].sort()).toEqual([...all].sort());
          expect(byStream.get('report')?.action).not.toBe('skip');
          for (const decision of made.decisions) {
            expect(decision.why).not.toBe('');
            if (decision.action === 'keep' || decision.action === 'restore') {
              const from = held[decision.action === 'keep' ? 'scratch' : decision.from]?.streams.find(
                ({ stream }) => stream === decision.stream,
              );
              expect(from?.lineage.digest).toBe(wanted.get(decision.stream)?.digest);
              expect(made.drop.includes(decision.stream)).toBe(
                decision.action === 'restore' && held.scratch?.streams.some(({ stream }) => stream === decision.stream) === true,
              );
            }
            const runs =
              decision.action === 'make' || ((decision.action === 'keep' || decision.action === 'restore') && !decision.sealed);
            for (const input of runs ? (stages.find(({ name }) => name === decision.stream)?.after ?? []) : []) {
              expect(byStream.get(input)?.action, `${decision.stream} runs and reads ${input}`).not.toBe('skip');
            }
          }
        },
      ),
    );
  });
});

describe('streams that have lost columns', () => {
  const column = { type: 'int32' } as const;
  const reads = (name: string, after: string, input: string): ReadingStage => ({
    name,
    after: [after],
    declares: { form: 'block', input: { [input]: column }, output: { [`${name}-out`]: column }, keep: 'all' },
  });
  /** clean reads a; sum reads what clean made, and nothing of the input. */
  const before = [reads('clean', 'input', 'a'), reads('sum', 'clean', 'clean-out')].map((stage) =>
    stage.name === 'sum'
      ? { ...stage, declares: { form: 'aggregate', input: { 'clean-out': column }, keep: 'none' } as const }
      : stage,
  );
  const clean: HeldStream = { ...whole('clean'), freed: ['a', 'b'] };
  const asked = (more: Partial<ResumeQuestion>): ResumePlan =>
    planResume({
      stages: before,
      results: ['sum'],
      wanted: new Map([...wanted, ['sum', lineage('sum')], ['late', lineage('late')]]),
      held: { scratch: holding(clean) },
      ...more,
    });

  it('are used while nothing needs these', () => {
    expect(actions(asked({}))).toEqual({ input: 'skip', clean: 'keep', sum: 'make' });
  });

  it('are not used when a stage that was added needs them, and the reason names them', () => {
    const stages = [...before, { ...reads('late', 'clean', 'b'), name: 'late' }];
    const made = asked({ stages, results: ['sum', 'late'] });
    expect(actions(made)).toMatchObject({ input: 'make', clean: 'make', late: 'make' });
    expect(made.drop).toEqual(['clean']);
    expect(why(made, 'clean')).toBe(
      'clean runs from its beginning: what the scratch holds of clean is not used: a stage needs a, b now, which had been given back when nothing was to read it any more',
    );
    expect(isSomethingGone({ stages, results: ['sum', 'late'] }, [clean])).toBe(true);
    expect(isSomethingGone({ stages: before, results: ['sum'] }, [clean])).toBe(false);
  });

  it('give way to a farther copy that has them, and take with them what only they could be made from', () => {
    const stages = [...before, reads('late', 'clean', 'b')];
    const results = ['sum', 'late'];
    const held = { scratch: holding({ ...whole('input'), freed: ['b'] }, clean), ssd: holding(whole('clean')) };
    expect(actions(asked({ stages, results, held }))).toMatchObject({ clean: 'ssd', late: 'make' });
    const nowhere = { scratch: holding({ ...whole('input'), freed: ['b'] }, clean) };
    expect(actions(asked({ stages, results, held: nowhere }))).toMatchObject({ input: 'make', clean: 'make' });
  });
});

describe('neededStreams', () => {
  it('are the results and what unsealed ones among the needed read', () => {
    expect([...neededStreams(stages, ['report'], (stream) => stream === 'clean' || stream === 'airports')].sort()).toEqual([
      'airports',
      'clean',
      'delays',
      'join',
      'report',
    ]);
    expect([...neededStreams(stages, ['report'], () => true)]).toEqual(['report']);
  });
});
