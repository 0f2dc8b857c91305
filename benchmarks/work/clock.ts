/** CLOCK_MONOTONIC in ms: the same for all processes of a machine, so that one may subtract what another told. */
export const monotonicMs = (): number => Number(process.hrtime.bigint()) / 1e6;
