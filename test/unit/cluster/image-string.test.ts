import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { imageForStep, parseImageName, stepTag } from '../../../runtime/cluster/image-string.js';

const digest = `sha256:${'a1'.repeat(32)}`;

describe('image strings', () => {
  it('keep repository and digest and carry the step as the tag', () => {
    expect(imageForStep(`registry.local:5000/podline/flights@${digest}`, 'run7-3')).toBe(
      `registry.local:5000/podline/flights:run7-3@${digest}`,
    );
  });

  it('replace the tag that an image has', () => {
    expect(imageForStep(`podline/flights:latest@${digest}`, 's1')).toBe(`podline/flights:s1@${digest}`);
  });

  it('refuse an image that is not pinned by digest, and name it', () => {
    expect(() => imageForStep('podline/flights:latest', 's1')).toThrow(/`podline\/flights:latest` is not pinned/);
  });

  it('refuse what is no image name', () => {
    expect(() => parseImageName('Not An Image')).toThrow(/is not the name of an image/);
    expect(() => parseImageName(`podline/flights@sha256:abc`)).toThrow(/is not the name of an image/);
  });

  it('are valid names again for any step, and differ for steps that differ', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 300 }), fc.string({ minLength: 1, maxLength: 300 }), (one, other) => {
        const image = imageForStep(`r:5000/p@${digest}`, one);
        expect(parseImageName(image)).toEqual({ repository: 'r:5000/p', tag: stepTag(one), digest });
        if (one !== other) expect(stepTag(one)).not.toBe(stepTag(other));
      }),
    );
  });
});
