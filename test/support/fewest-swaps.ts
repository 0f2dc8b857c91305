/**
 * The fewest swaps with which slots can take a known sequence of stages, found by trying everything (for small cases): what the
 * plan of `runtime/line/slots.ts` is held against. While a stage works, the one after it is put into another slot, if there is one.
 */
export function fewestSwaps(sequence: readonly string[], slots: number, held: readonly string[] = []): number {
  const keyOf = (stages: readonly string[]): string => [...stages].sort().join(' ');
  let states = new Map<string, { stages: string[]; swaps: number }>([[keyOf(held), { stages: [...held], swaps: 0 }]]);
  for (const [at, stage] of sequence.entries()) {
    const works = slots > 1 ? sequence[at - 1] : undefined;
    const next: typeof states = new Map();
    const reach = (stages: string[], swaps: number): void => {
      const known = next.get(keyOf(stages));
      if (known === undefined || known.swaps > swaps) next.set(keyOf(stages), { stages, swaps });
    };
    for (const { stages, swaps } of states.values()) {
      if (stages.includes(stage)) reach(stages, swaps);
      else if (stages.length < slots) reach([...stages, stage], swaps + 1);
      else
        for (const victim of stages)
          if (victim !== works) reach([...stages.filter((other) => other !== victim), stage], swaps + 1);
    }
    states = next;
  }
  return Math.min(...[...states.values()].map(({ swaps }) => swaps));
}
