/**
 * Submissions as a stream, answered one by one in order. They are put into the journal in groups of what has come so far,
 * so that many share a commit, and no more than one group is held in memory. While the pace asks for a rest, the group waits and nothing more is read:
 * who submits is slowed down by its socket.
 */
import { PodlineError } from '../contracts/errors.js';
import { submissionSchema, type SubmitAnswer } from '../contracts/shard.js';
import type { TraceContext } from '../contracts/trace.js';
import type { Coordinator } from '../coordinator/coordinator.js';
import { nestingLooksFromBytes, tooDeep } from './body-guard.js';
import { defaultBounds, nestsDeeperThan } from './bounds.js';
import { parseOrThrow } from './handlers.js';
import { OpenLine } from './open-line.js';

/** What does not fit is rejected by itself; the others go on. */
export async function* answerGroups(
  coordinator: Coordinator,
  pipeline: string,
  lines: AsyncIterable<unknown[]>,
  /** `trace`: of those that bring none. `ending`: nobody waits for the answers any more. */
  { trace, ending = new AbortController().signal }: { trace?: TraceContext | undefined; ending?: AbortSignal } = {},
): AsyncGenerator<SubmitAnswer[], void, undefined> {
  await coordinator.progress(pipeline);
  for await (const group of lines) {
    const answers: SubmitAnswer[] = [];
    const places: number[] = [];
    const submissions = group.flatMap((raw, place) => {
      try {
        if (raw instanceof PodlineError) throw raw;
        const submission = parseOrThrow(submissionSchema, raw, '');
        if (trace !== undefined) submission.trace ??= trace;
        places.push(place);
        return [submission];
      } catch (thrown) {
        const key = typeof raw === 'object' && raw !== null && 'key' in raw && typeof raw.key === 'string' ? raw.key : undefined;
        answers[place] = {
          outcome: 'rejected',
          ...(key === undefined ? {} : { key }),
          error: PodlineError.from(thrown).toWire(),
        };
        return [];
      }
    });
    const accepted = submissions.length === 0 ? [] : await coordinator.submit(pipeline, submissions, { patience: ending });
    accepted.forEach((answer, index) => {
      answers[places[index] ?? 0] = answer;
    });
    yield answers;
  }
}

/** Bytes → groups of parsed lines, at most `groupMax` in one. A line that is no JSON comes as the error that it is. */
export async function* ndjsonGroups(
  chunks: AsyncIterable<Uint8Array>,
  groupMax: number,
  lineBytesMax: number,
  nestingMax: number = defaultBounds.nestingMax,
): AsyncGenerator<unknown[], void, undefined> {
  const open = new OpenLine();
  let number = 0;
  const tooLong = (): PodlineError =>
    new PodlineError('PDL_REQUEST_INVALID', `line ${String(number + 1)} is longer than ${String(lineBytesMax)} bytes`, {
      place: `line ${String(number + 1)}`,
      hint: 'Give large sources by address instead of inline.',
    });
  const parse = (text: string): unknown => {
    number += 1;
    try {
      const value: unknown = JSON.parse(text);
      if (text.length > nestingLooksFromBytes && nestsDeeperThan(value, nestingMax))
        return tooDeep(`line ${String(number)}`, nestingMax);
      return value;
    } catch (thrown) {
      return new PodlineError(
        'PDL_REQUEST_INVALID',
        `line ${String(number)} is not JSON: ${thrown instanceof Error ? thrown.message : ''}`,
        { place: `line ${String(number)}` },
      );
    }
  };
  for await (const chunk of chunks) {
    const data = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let group: unknown[] = [];
    let from = 0;
    for (let at = data.indexOf(10); at >= 0; at = data.indexOf(10, from)) {
      if (open.bytes + at - from > lineBytesMax) throw tooLong();
      // As a rule the line is whole in its chunk, and is read from there.
      const line = open.bytes === 0 ? data.toString('utf8', from, at) : open.end(data.subarray(from, at)).toString('utf8');
      from = at + 1;
      if (isBlank(line)) continue;
      group.push(parse(line));
      if (group.length >= groupMax) {
        yield group;
        group = [];
      }
    }
    if (group.length > 0) yield group;
    if (open.bytes + data.length - from > lineBytesMax) throw tooLong();
    open.add(data.subarray(from));
  }
  const last = open.end(Buffer.alloc(0)).toString('utf8');
  if (!isBlank(last)) yield [parse(last)];
}

const blank = /^[ \t\r]*$/;
/** Most begin with a brace. */
const isBlank = (line: string): boolean => line.charCodeAt(0) !== 0x7b && blank.test(line);
