import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Lineage } from '../../../runtime/contracts/block.js';
import { pipelineSpecSchema, type Parameters, type ResolvedStage } from '../../../runtime/contracts/manifest.js';
import type { ShardSource } from '../../../runtime/contracts/shard.js';
import { canonicalJson, explainDifference, lineages, visibleParameters } from '../../../runtime/line/lineage.js';

interface Change {
  stages?: Partial<Record<string, Partial<ResolvedStage>>>;
  source?: Partial<Extract<ShardSource, { uri: string }>>;
  parameters?: Parameters;
  input?: Record<string, unknown>;
}

const stageNames = ['clean', 'airports', 'delays', 'join'];
const after: Record<string, string[]> = {
  clean: ['input'],
  airports: ['clean'],
  delays: ['clean'],
  join: ['airports', 'delays'],
};

function made(change: Change = {}): Map<string, Lineage> {
  const spec = pipelineSpecSchema.parse({
    input: { format: 'parquet', ...change.input },
    stages: stageNames.map((name) => ({ name, after: after[name], uses: `./${name}.ts` })),
  });
  const stages = spec.stages.map((stage): ResolvedStage => ({
    ...stage,
    after: after[stage.name] ?? [],
    version: `${stage.name}-0000`,
    ...change.stages?.[stage.name],
  }));
  const source: ShardSource = { uri: '/data/flights.parquet', format: 'parquet', identity: 'size 10, of noon', ...change.source };
  return lineages({ spec, stages }, { source, parameters: change.parameters ?? { minDelay: 15 } });
}

const changed = (change: Change): string[] => {
  const before = made();
  return [...made(change)].filter(([stream, lineage]) => before.get(stream)?.digest !== lineage.digest).map(([stream]) => stream);
};
const difference = (stream: string, wanted: Map<string, Lineage>, found: Map<string, Lineage>): string => {
  const [a, b] = [wanted.get(stream), found.get(stream)];
  if (a === undefined || b === undefined) throw new Error(`no lineage of ${stream}`);
  return explainDifference(a, b);
};

describe('lineages', () => {
  it('are the same each time', () => {
    expect(made()).toEqual(made());
  });

  it('say of every stream what it reads, in the order of `after`', () => {
    const all = made();
    expect(Object.keys(all.get('join')?.inputs ?? {})).toEqual(['airports', 'delays']);
    expect(all.get('join')?.inputs['delays']).toBe(all.get('delays')?.digest);
    expect([...all.keys()]).toEqual(['input', ...stageNames]);
  });

  it('change with the version of a stage, there and downstream, and nowhere else', () => {
    expect(changed({ stages: { delays: { version: 'delays-1111' } } })).toEqual(['delays', 'join']);
  });

  it('change with the source, everywhere', () => {
    expect(changed({ source: { identity: 'size 10, of one' } })).toEqual(['input', ...stageNames]);
    expect(changed({ source: { rows: [0, 5] } })).toEqual(['input', ...stageNames]);
  });

  it('change with how the source is read', () => {
    expect(changed({ input: { blockRows: 1000 } })).toEqual(['input', ...stageNames]);
    expect(changed({ input: { columns: ['a', 'b'] } })).toEqual(['input', ...stageNames]);
  });

  it('change with a constant of one stage there and downstream', () => {
    expect(changed({ stages: { join: { parameters: { top: 3 } } } })).toEqual(['join']);
  });

  it('change with the order of the streams that are read', () => {
    expect(changed({ stages: { join: { after: ['delays', 'airports'] } } })).toEqual(['join']);
  });

  it('do not change with what leaves the output alone', () => {
    expect(changed({ stages: { clean: { workers: 3, bound: 'io', retries: 9, executor: 'process', timeoutMs: 5 } } })).toEqual(
      [],
    );
  });

  it('do not depend on the order in which parameters were written', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ minLength: 1 }), fc.oneof(fc.string(), fc.integer(), fc.boolean())), (parameters) => {
        const reversed = Object.fromEntries(Object.entries(parameters).reverse());
        expect(made({ parameters: reversed }).get('join')?.digest).toBe(made({ parameters }).get('join')?.digest);
      }),
    );
  });

  it('tell any two different sets of parameters apart', () => {
    const some = fc.dictionary(
      fc.string({ minLength: 1, maxLength: 3 }),
      fc.oneof(fc.string({ maxLength: 3 }), fc.integer({ min: 0, max: 3 }), fc.boolean()),
    );
    fc.assert(
      fc.property(some, some, (a, b) => {
        const equal = made({ parameters: a }).get('clean')?.digest === made({ parameters: b }).get('clean')?.digest;
        expect(equal).toBe(canonicalJson(a) === canonicalJson(b));
      }),
    );
  });
});

describe('visibleParameters', () => {
  it('puts the parameters of the shard over the constants of the stage', () => {
    expect(visibleParameters({ parameters: { a: 1, b: 1 } }, { b: 2 })).toEqual({ a: 1, b: 2 });
  });
});

describe('explainDifference', () => {
  const before = made();

  it('says nothing of equals', () => {
    expect(difference('join', made(), before)).toBe('');
  });

  it('names a changed stage with both versions', () => {
    const now = made({ stages: { clean: { version: 'abcdef0123456789' } } });
    expect(difference('clean', now, before)).toBe('stage clean has changed (version clean-00… → abcdef01…)');
  });

  it('names a changed parameter with both values', () => {
    expect(difference('clean', made({ parameters: { minDelay: 20 } }), before)).toMatch(/^parameter minDelay is 20, was 15/);
  });

  it('tells a parameter that came from one that went', () => {
    expect(difference('clean', made({ parameters: { minDelay: 15, top: 'x' } }), before)).toContain(
      'parameter top is "x", was not given',
    );
    expect(difference('clean', made({ parameters: {} }), before)).toContain('parameter minDelay is not given, was 15');
  });

  it('names an option of the loader', () => {
    expect(difference('input', made({ input: { blockRows: 1000 } }), before)).toBe('option blockRows is 1000, was 65536');
  });

  it('names both sources', () => {
    const now = made({ source: { uri: '/data/other.parquet' } });
    expect(difference('input', now, before)).toBe(
      'the source has changed: it is /data/other.parquet (size 10, of noon), was /data/flights.parquet (size 10, of noon)',
    );
  });

  it('says which input brings the difference', () => {
    const now = made({ stages: { delays: { version: 'delays-1111' } } });
    expect(difference('join', now, before)).toBe('what it reads from stage delays has changed');
  });

  it('says that the order of the inputs is another', () => {
    expect(difference('join', made({ stages: { join: { after: ['delays', 'airports'] } } }), before)).toBe(
      'it reads in the order delays, airports, was airports, delays',
    );
  });

  it('keeps a long value as its checksum', () => {
    const values = made({ parameters: { text: 'x'.repeat(500) } }).get('clean')?.values;
    expect(values?.['text']).toMatch(/^sha256:[0-9a-f]{64}$/);
  });
});
