/**
 * Alerts, dashboard and metrics as Prometheus itself takes them: the rules are what it reads, each alert comes when it should and stays
 * away when it should, and what the dashboard asks is what it answers.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { parse, stringify } from 'yaml';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { createMetrics } from '../../../runtime/telemetry/metrics.js';
import { folder } from '../../support/journal.js';
import { needs } from '../../support/require.js';

const read = (name: string): string => readFileSync(join(packageRoot, 'manifests/components/monitoring', name), 'utf8');

interface Rule {
  alert: string;
  annotations: { runbook: string };
}
const { groups } = (parse(read('alerts.yaml')) as { spec: { groups: { name: string; rules: Rule[] }[] } }).spec;
const rules = groups.flatMap((group) => group.rules);

/** Each sample is a minute behind the one before; values as promtool writes them: `5x20` stays, `0+1x20` grows. */
type Series = Record<string, string>;
interface Case {
  alert: string;
  /** In which it comes, at this minute, with these labels and words. */
  fires: Series[];
  atMinute: number;
  labels: Record<string, string>;
  summary: string;
  /** In which it does not, at the same minute. */
  quiet: Series[];
}

const pending = { 'podline_shards{pipeline="flights",state="pending"}': '5x60' };
const ended = (state: string): string => `podline_shards_ended_total{pipeline="flights",state="${state}"}`;
const event = (type: string): string => `podline_events_total{pipeline="flights",type="${type}"}`;
const requests = (status: string): string => `podline_api_request_seconds_count{route="/v1/pipelines",status="${status}"}`;
const swaps = (le: string): string => `podline_swap_seconds_bucket{pipeline="flights",stage="clean",le="${le}"}`;

const cases: Case[] = [
  {
    alert: 'PodlineNoLeader',
    fires: [{ 'podline_leader{instance="a"}': '0x10', 'podline_leader{instance="b"}': '0x10' }, {}],
    atMinute: 2,
    labels: { severity: 'critical' },
    summary: 'No coordinator leads: nothing is accepted, and nothing is leased.',
    quiet: [{ 'podline_leader{instance="a"}': '0x10', 'podline_leader{instance="b"}': '1x10' }],
  },
  {
    alert: 'PodlineNothingEnds',
    // None has ever ended; or some had, before.
    fires: [pending, { ...pending, [ended('completed')]: '7x60' }],
    atMinute: 40,
    labels: { severity: 'critical', pipeline: 'flights' },
    summary: 'Shards of flights wait, and for 15 minutes none has ended.',
    quiet: [
      { ...pending, [ended('completed')]: '0+1x60' },
      { ...pending, [ended('completed')]: '7x60', [ended('failed')]: '0+1x60' },
    ],
  },
  {
    alert: 'PodlineNoLines',
    fires: [pending, { ...pending, 'podline_lines{pipeline="flights"}': '0x60' }],
    atMinute: 11,
    labels: { severity: 'critical', pipeline: 'flights' },
    summary: 'Shards of flights wait, and there is no line.',
    quiet: [{ ...pending, 'podline_lines{pipeline="flights"}': '1x60' }, {}],
  },
  {
    alert: 'PodlineShardsFail',
    fires: [{ [ended('failed')]: '0+1x60', [ended('completed')]: '0+9x60' }],
    atMinute: 30,
    labels: { severity: 'warning', pipeline: 'flights' },
    summary: '10% of the shards of flights that end have failed for good.',
    quiet: [{ [ended('failed')]: '0+1x60', [ended('completed')]: '0+99x60' }, { [ended('completed')]: '0+9x60' }],
  },
  {
    alert: 'PodlineLinesLost',
    fires: [{ [event('line.lost')]: '0x5 4x10' }],
    atMinute: 10,
    labels: { severity: 'warning', pipeline: 'flights' },
    summary: '4 lines of flights were lost within 15 minutes.',
    quiet: [{ [event('line.lost')]: '0x5 3x10', [event('line.joined')]: '0+9x20' }, { [event('line.lost')]: '70x20' }],
  },
  {
    alert: 'PodlineAboveQuota',
    fires: [{ 'podline_lines{pipeline="flights"}': '5x20', 'podline_lines_max{pipeline="flights"}': '4x20' }],
    atMinute: 11,
    labels: { severity: 'warning', pipeline: 'flights' },
    summary: 'flights has more lines than its quotas allow: they are not drained.',
    quiet: [
      { 'podline_lines{pipeline="flights"}': '4x20', 'podline_lines_max{pipeline="flights"}': '4x20' },
      { 'podline_lines{pipeline="flights"}': '5x20' },
    ],
  },
  {
    alert: 'PodlineScratchFull',
    fires: [
      { 'podline_scratch_used_bytes{pipeline="flights"}': '95x20', 'podline_scratch_size_bytes{pipeline="flights"}': '100x20' },
    ],
    atMinute: 11,
    labels: { severity: 'warning', pipeline: 'flights' },
    summary: 'The scratches of flights are 95% full: streams are spilled to SSD.',
    quiet: [
      { 'podline_scratch_used_bytes{pipeline="flights"}': '80x20', 'podline_scratch_size_bytes{pipeline="flights"}': '100x20' },
    ],
  },
  {
    alert: 'PodlineCheckpointsFail',
    fires: [{ [event('checkpoint.failed')]: '0x5 1x10' }],
    atMinute: 8,
    labels: { severity: 'warning', pipeline: 'flights' },
    summary: 'Checkpoints of flights could not be written: what dies now is done again.',
    quiet: [{ [event('checkpoint.failed')]: '1x20' }],
  },
  {
    alert: 'PodlineSwapsSlow',
    fires: [{ [swaps('10')]: '0+1x60', [swaps('30')]: '0+10x60', [swaps('+Inf')]: '0+10x60' }],
    atMinute: 35,
    labels: { severity: 'warning', pipeline: 'flights' },
    summary: 'One swap in ten of flights takes longer than 27.78s.',
    quiet: [{ [swaps('10')]: '0+10x60', [swaps('30')]: '0+10x60', [swaps('+Inf')]: '0+10x60' }],
  },
  {
    alert: 'PodlineConnectorAway',
    fires: [{ 'podline_connector_running{connector="orders",kind="kafka"}': '0x10' }],
    atMinute: 6,
    labels: { severity: 'critical', connector: 'orders', kind: 'kafka' },
    summary: 'The broker or folder of connector orders is away.',
    quiet: [{ 'podline_connector_running{connector="orders",kind="kafka"}': '0x3 1x10' }],
  },
  {
    alert: 'PodlineConnectorBehind',
    fires: [{ 'podline_connector_behind_events{connector="orders",kind="kafka"}': '150000x20' }],
    atMinute: 16,
    labels: { severity: 'warning', connector: 'orders', kind: 'kafka' },
    summary: 'Connector orders is 150k events behind: completions come late.',
    quiet: [{ 'podline_connector_behind_events{connector="orders",kind="kafka"}': '99x20' }],
  },
  {
    alert: 'PodlineApiErrors',
    fires: [{ [requests('5xx')]: '0+1x20', [requests('2xx')]: '0+9x20' }],
    atMinute: 12,
    labels: { severity: 'critical', route: '/v1/pipelines' },
    summary: '10% of the requests to /v1/pipelines end in a fault of the coordinator.',
    quiet: [{ [requests('4xx')]: '0+1x20', [requests('2xx')]: '0+9x20' }],
  },
  {
    alert: 'PodlineCoordinatorSlow',
    fires: [{ 'podline_nodejs_eventloop_lag_p99_seconds{instance="a"}': '0.75x10' }],
    atMinute: 6,
    labels: { severity: 'warning', instance: 'a' },
    summary: 'The coordinator’s event loop is late by 750ms: leases may end that lines still want.',
    quiet: [{ 'podline_nodejs_eventloop_lag_p99_seconds{instance="a"}': '0.02x10' }],
  },
];

/** Throws what promtool says, where it finds something. */
function promtool(args: readonly string[], options: { cwd?: string; input?: string } = {}): string {
  const { status, stdout, stderr } = spawnSync('promtool', args, { ...options, encoding: 'utf8' });
  if (status !== 0) throw new Error(`promtool ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

function written(files: Record<string, unknown>): string {
  const dir = folder();
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), stringify(content));
  return dir;
}

function testsOf({ alert, fires, atMinute, labels, summary, quiet }: Case): unknown[] {
  const { runbook } = rules.find((rule) => rule.alert === alert)?.annotations ?? expect.fail(`there is no ${alert}`);
  const test = (series: Series, alerts: unknown[]): unknown => ({
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    alert_rule_test: [{ eval_time: `${String(atMinute)}m`, alertname: alert, exp_alerts: alerts }],
  });
  return [
    ...fires.map((series) => test(series, [{ exp_labels: labels, exp_annotations: { summary, runbook } }])),
    ...quiet.map((series) => test(series, [])),
  ];
}

const { it } = needs('promtool');

it('the alerts are rules of Prometheus', () => {
  const dir = written({ 'rules.yaml': { groups } });
  expect(promtool(['check', 'rules', 'rules.yaml'], { cwd: dir })).toContain(`${String(rules.length)} rules found`);
});

it('each alert comes when it should, with its words, and not else', () => {
  expect(cases.map(({ alert }) => alert)).toEqual(rules.map(({ alert }) => alert));
  const tests = { rule_files: ['rules.yaml'], evaluation_interval: '1m', tests: cases.flatMap(testsOf) };
  const dir = written({ 'rules.yaml': { groups }, 'tests.yaml': tests });
  expect(promtool(['test', 'rules', 'tests.yaml'], { cwd: dir })).toContain('SUCCESS');
});

it('what the dashboard asks is PromQL', () => {
  const { panels } = JSON.parse(read('dashboard.json')) as { panels: { targets?: { expr: string }[] }[] };
  // Variables of Grafana, as it puts them in.
  const asked = panels
    .flatMap(({ targets = [] }) => targets)
    .map(({ expr }) => expr.replaceAll('$__rate_interval', '1m').replaceAll('$pipeline', 'flights|orders'));
  const records = asked.map((expr, index) => ({ record: `asked:${String(index)}`, expr }));
  const dir = written({ 'asked.yaml': { groups: [{ name: 'dashboard', rules: records }] } });
  expect(asked.length).toBeGreaterThan(20);
  expect(promtool(['check', 'rules', 'asked.yaml'], { cwd: dir })).toContain(`${String(asked.length)} rules found`);
});

it('metrics are named and explained as Prometheus wants them', async () => {
  const metrics = createMetrics();
  onTestFinished(() => {
    metrics.close();
  });
  // Those of the process have the names that the client library gives them.
  const own = (await metrics.text()).split('\n').filter((line) => !/\bpodline_(nodejs|process)_/.test(line));
  promtool(['check', 'metrics'], { input: own.join('\n') });
});
