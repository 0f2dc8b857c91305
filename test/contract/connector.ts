/** What every connector does, over a real broker or a real folder. */
import { afterEach, describe, expect, it } from 'vitest';
import { openConnector } from '../../runtime/connectors/open.js';
import type { Connector } from '../../runtime/connectors/connector.js';
import type { Completion, ConnectorConfig } from '../../runtime/contracts/connectors.js';
import type { TraceContext } from '../../runtime/contracts/trace.js';
import { silentLogger } from '../../runtime/platform/logger.js';
import { until } from '../support/until.js';
import { Rig, type RigOptions } from '../support/connectors/rig.js';

export interface DeadLetter {
  code: string;
  reason: string;
  place: string;
}

/** A connector's surroundings, made anew for each test. */
export interface ConnectorUnderTest {
  config: ConnectorConfig;
  /** From outside, as a program does: a request for each name. The same name again is the same request. */
  send(...names: string[]): Promise<void>;
  /** A request that belongs to a trace, and the headers of the completions by name of request; absent where messages have no headers. */
  traced?: {
    send(name: string, trace: TraceContext): Promise<void>;
    headers(): Promise<Map<string, Record<string, string>>>;
  };
  /** What is no request; absent where everything that can be sent is one. */
  sendPoison?: () => Promise<void>;
  /** The name with which a request was sent. */
  nameOf(key: string): string;
  /** All that was published so far, as somebody outside sees it. */
  completions(): Promise<Completion[]>;
  deadLetters(): Promise<DeadLetter[]>;
  /** Absent where there is no broker that could die. */
  broker?: { kill(): Promise<void>; again(): Promise<void>; freeze?(): void; thaw?(): void };
  /** The same connector, to where nobody answers. */
  elsewhere: ConnectorConfig;
  end(): Promise<void>;
}

export interface Features {
  /** There is a broker that can die. */
  broker: boolean;
  /** It can be held up, and owes its answers then. */
  freezes: boolean;
  /** There is such a thing as a message that is no request. */
  poison: boolean;
  /** A completion is said once whatever happens; else it may come again, with its id. */
  exactlyOnce: boolean;
  /** Messages have headers, and so a trace. */
  headers: boolean;
}

/** What there is not is no test that was skipped. */
const notHere = (): void => undefined;

const named = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${prefix}-${index}`);

export function connectorContract(name: string, features: Features, make: () => Promise<ConnectorUnderTest>): void {
  const ends: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  const begin = async (options: RigOptions = {}): Promise<{ under: ConnectorUnderTest; rig: Rig; open: typeof open }> => {
    const under = await make();
    ends.push(() => under.end());
    const rig = await Rig.start(options);
    const open = (config = under.config): Connector => {
      const connector = openConnector(config, {
        office: rig.client,
        logger: silentLogger,
        backoff: { initialMs: 10, factor: 2, maxMs: 200 },
      });
      ends.push(() => connector.close());
      return connector;
    };
    return { under, rig, open };
  };
  const pending = async (rig: Rig, count: number): Promise<void> => {
    await until(async () => (await rig.client.progress('flights')).pending === count);
  };
  /** Waits until each of these names has been told of; answers all completions there are, less those that may come again. */
  const told = async (under: ConnectorUnderTest, ...names: string[]): Promise<Completion[]> => {
    const missing = new Set(names);
    return until(async () => {
      const completions = await under.completions();
      for (const { key } of completions) missing.delete(under.nameOf(key));
      if (missing.size > 0) return false;
      return features.exactlyOnce
        ? completions
        : [...new Map(completions.map((completion) => [completion.id, completion])).values()];
    });
  };
  const namesOf = (under: ConnectorUnderTest, completions: readonly Completion[]): string[] =>
    completions.map(({ key }) => under.nameOf(key)).sort();

  describe(`${name}: requests`, () => {
    it('come into the journal once each, and are let go for good', async () => {
      const { under, rig, open } = await begin();
      const names = named('flight', 50);
      await under.send(...names);
      const first = open();
      await pending(rig, 50);
      expect((await rig.keys()).map((key) => under.nameOf(key)).sort()).toEqual(names.toSorted());
      await until(() => first.view().taken === 50);
      await first.close();
      const second = open();
      await under.send('one-more');
      await pending(rig, 51);
      await until(() => second.view().taken === 1);
    });

    it('that were sent while nobody was there are found', async () => {
      const { under, rig, open } = await begin();
      await open().close();
      await under.send(...named('meanwhile', 5));
      open();
      await pending(rig, 5);
    });

    it('that come twice are one shard with one completion', async () => {
      const { under, rig, open } = await begin();
      const connector = open();
      await under.send('a', 'b');
      await pending(rig, 2);
      await under.send('a');
      await until(() => connector.view().duplicates >= 1);
      rig.startLine();
      await told(under, 'a', 'b');
      await under.send('a', 'last');
      expect(namesOf(under, await told(under, 'last'))).toEqual(['a', 'b', 'last']);
      expect((await rig.client.progress('flights')).completed).toBe(3);
    });

    const poisonIt = features.poison ? it : notHere;
    poisonIt('that are none are dead letters with reason and place, and let the others pass', async () => {
      const { under, rig, open } = await begin();
      const connector = open();
      await under.send('before');
      await under.sendPoison?.();
      await under.send('after');
      await pending(rig, 2);
      const [letter] = await until(async () => {
        const letters = await under.deadLetters();
        return letters.length > 0 && letters;
      });
      expect(letter).toMatchObject({
        code: expect.stringMatching(/^PDL_/),
        reason: expect.stringMatching(/./),
        place: expect.stringMatching(/./),
      });
      await until(() => connector.view().refused === 1);
    });

    it('wait while the queue is full, and go on when it is not', async () => {
      const { under, rig, open } = await begin({ limits: { pendingShardsMax: 5 } });
      const connector = open();
      const names = named('many', 23);
      await under.send(...names);
      const { because } = await until(() => connector.view().state === 'paused' && connector.view());
      expect(because).toContain('PDL_QUEUE_FULL');
      expect(await rig.client.progress('flights')).toMatchObject({ pending: 5 });
      rig.startLine();
      await told(under, ...names);
      await until(() => connector.view().state === 'running');
      expect(connector.view()).toMatchObject({ taken: 23, refused: 0 });
    });
  });

  describe(`${name}: completions`, () => {
    it('come once for each request, tied to it by its key, with the folder of the result', async () => {
      const { under, rig, open } = await begin();
      rig.startLine();
      const connector = open();
      const names = named('shard', 40);
      await under.send(...names);
      const completions = await told(under, ...names);
      expect(namesOf(under, completions)).toEqual(names.toSorted());
      for (const { key, shardId, outcome, resultDir, task } of completions) {
        const shard = await rig.client.get(shardId);
        expect({ key, outcome, resultDir, task }).toEqual({
          key: shard.key,
          outcome: 'completed',
          resultDir: shard.result?.dir,
          task: 'flights',
        });
      }
      await until(() => connector.view().published === 40);
      // A second life of the connector says none of them again.
      await connector.close();
      open();
      await under.send('last');
      expect(namesOf(under, await told(under, 'last'))).toEqual([...names, 'last'].sort());
    });

    it('of what ended while the connector was closed come when it is opened again', async () => {
      const { under, rig, open } = await begin();
      const first = open();
      await under.send('early', 'late');
      await pending(rig, 2);
      await first.close();
      rig.startLine();
      await until(async () => (await rig.client.progress('flights')).completed === 2);
      open();
      expect(namesOf(under, await told(under, 'early', 'late'))).toEqual(['early', 'late']);
    });

    const headersIt = features.headers ? it : notHere;
    headersIt('belong to the trace of their request, which its shard is told too', async () => {
      const { under, rig, open } = await begin();
      const { traced } = under;
      rig.startLine();
      open();
      const trace = {
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        tracestate: 'vendor=opaque,other=1',
      };
      await traced?.send('traced', trace);
      await traced?.send('broken', { traceparent: 'no trace at all' });
      await under.send('untraced');
      const completions = await told(under, 'traced', 'broken', 'untraced');
      const headers = await traced?.headers();
      for (const [name, wanted] of [
        ['traced', trace],
        ['broken', undefined],
        ['untraced', undefined],
      ] as const) {
        const completion = completions.find(({ key }) => under.nameOf(key) === name);
        expect(completion?.trace, name).toEqual(wanted);
        expect((await rig.client.get(completion?.shardId ?? '')).trace, name).toEqual(wanted);
        const { traceparent, tracestate } = headers?.get(name) ?? {};
        expect({ traceparent, tracestate }, name).toEqual({
          traceparent: wanted?.traceparent,
          tracestate: wanted?.tracestate,
        });
      }
    });

    it('say why, where a shard failed', async () => {
      const { under, rig, open } = await begin();
      rig.startLine({ fails: (key) => under.nameOf(key) === 'bad' });
      open();
      await under.send('good', 'bad');
      const completions = await told(under, 'good', 'bad');
      expect(completions.find(({ key }) => under.nameOf(key) === 'bad')).toMatchObject({
        outcome: 'failed',
        error: { code: 'PDL_STAGE_FAILED', message: 'as wished' },
      });
    });

    it('are published although the journal has forgotten their events', async () => {
      const { under, rig, open } = await begin({ eventsKept: 10 });
      const first = open();
      await under.send('first');
      await pending(rig, 1);
      rig.startLine();
      await told(under, 'first');
      await until(() => first.view().published === 1);
      await rig.stopLine();
      const names = named('gap', 20);
      await under.send(...names);
      await pending(rig, 20);
      await first.close();
      rig.startLine();
      await until(async () => (await rig.client.progress('flights')).completed === 21);
      // The journal forgets a thousand events at a time.
      await rig.say(1_100);
      await until(async () => (await rig.journal.events(0, 1))[0]?.id !== 1);
      open();
      const completions = await told(under, ...names);
      expect(new Set(completions.map(({ id }) => id)).size).toBe(21);
    });
  });

  describe(`${name}: a broker`, () => {
    it('that is away is named in the view, with what is wrong', async () => {
      const { under, open } = await begin();
      const connector = open(under.elsewhere);
      const { because } = await until(() => connector.view().state === 'away' && connector.view());
      expect(because).toMatch(/PDL_(BROKER_UNREACHABLE|SOURCE_MISSING)/);
      await connector.close();
      await connector.close();
      expect(connector.view().state).toBe('closed');
    });

    const brokerIt = features.broker ? it : notHere;
    brokerIt('that is killed and comes back costs no request and no completion', async () => {
      const { under, rig, open } = await begin();
      const connector = open();
      const before = named('before', 30);
      const after = named('after', 30);
      await under.send(...before);
      await pending(rig, 30);
      // While it is away the lines go on, and what they complete waits.
      await under.broker?.kill();
      await until(() => connector.view().state === 'away');
      rig.startLine();
      await until(async () => (await rig.client.progress('flights')).completed === 30);
      await under.broker?.again();
      await under.send(...after);
      const completions = await told(under, ...before, ...after);
      expect(completions).toHaveLength(60);
      expect(new Set(completions.map(({ id }) => id)).size).toBe(60);
      await until(() => connector.view().state === 'running');
    });

    const freezesIt = features.freezes ? it : notHere;
    freezesIt('that owes its answers is given up, and costs nothing when it goes on', async () => {
      const { under, rig, open } = await begin();
      const connector = open();
      const names = named('frozen', 20);
      await under.send(...names);
      await pending(rig, 20);
      under.broker?.freeze?.();
      rig.startLine();
      await until(() => connector.view().state === 'away');
      under.broker?.thaw?.();
      const completions = await told(under, ...names);
      expect(new Set(completions.map(({ id }) => id)).size).toBe(20);
      await until(() => connector.view().state === 'running');
    });
  });
}
