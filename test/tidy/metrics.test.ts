import { parser } from '@prometheus-io/lezer-promql';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { packageRoot } from '../../runtime/platform/entries.js';
import { metricCatalogue, processMetricsPrefix, type MetricEntry } from '../../runtime/telemetry/catalogue.js';
import { createMetrics } from '../../runtime/telemetry/metrics.js';
import { metricsDocument } from '../../scripts/documents.mjs';

const read = (path: string): string => readFileSync(join(packageRoot, path), 'utf8');
const folder = 'manifests/components/monitoring';
const catalogue: Record<string, MetricEntry> = metricCatalogue;

interface Rule {
  alert: string;
  expr: string;
  annotations: { runbook: string; summary: string };
}
const rules = (parse(read(`${folder}/alerts.yaml`)) as { spec: { groups: { rules: Rule[] }[] } }).spec.groups.flatMap(
  (group) => group.rules,
);
interface Panel {
  title: string;
  targets?: { expr: string }[];
}
const panels = (JSON.parse(read(`${folder}/dashboard.json`)) as { panels: Panel[] }).panels;
/** Variables of Grafana, as it puts them in. */
const filled = (expr: string): string => expr.replaceAll('$__rate_interval', '1m').replaceAll('$pipeline', 'flights');
const expressions = [
  ...rules.map(({ alert, expr }) => ({ where: alert, expr })),
  ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ where: title, expr: filled(expr) }))),
];

/** Metrics that an expression selects, with the labels by which it does, and those that it groups by; undefined where it is none. */
function looked(expr: string): { metrics: string[]; labels: string[] } | undefined {
  const found = { metrics: [] as string[], labels: [] as string[] };
  let isBroken = false;
  parser.parse(expr).iterate({
    enter: ({ type, from, to }) => {
      isBroken ||= type.isError;
      if (type.name === 'Identifier') found.metrics.push(expr.slice(from, to));
      if (type.name === 'LabelName') found.labels.push(expr.slice(from, to));
    },
  });
  return isBroken ? undefined : found;
}

const familyOf = (name: string): string => {
  const family = name.replace(/_(bucket|sum|count)$/, '');
  return catalogue[family]?.kind === 'histogram' ? family : name;
};

describe('metrics', () => {
  it('docs/metrics.md is what the catalogue says; `npm run generate` writes it', () => {
    expect(read('docs/metrics.md')).toBe(metricsDocument(metricCatalogue, processMetricsPrefix));
  });

  it('have the prefix, base units and a sentence', () => {
    const wrong = Object.entries(catalogue).filter(
      ([name, { kind, help }]) =>
        !/^podline_[a-z]+(_[a-z]+)*$/.test(name) ||
        /_(ms|millis|micros|minutes|kib|mib|percent)(_|$)/.test(name) ||
        (kind === 'counter') !== name.endsWith('_total') ||
        (kind === 'histogram' && !/_(seconds|bytes)$/.test(name)) ||
        !help.endsWith('.'),
    );
    expect(wrong).toEqual([]);
  });

  it('all are there at a scrape, and no other with labels of ours', async () => {
    const metrics = createMetrics();
    const text = await metrics.text();
    metrics.close();
    const told = [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name = '']) => name);
    expect(Object.keys(catalogue).filter((name) => !told.includes(name))).toEqual([]);
    expect(told.filter((name) => !(name in catalogue) && !/^podline_(process|nodejs)_/.test(name))).toEqual([]);
  });
});

describe('dashboard and alerts', () => {
  it('are PromQL, over metrics and labels that there are', async () => {
    const metrics = createMetrics();
    const text = await metrics.text();
    metrics.close();
    const ofProcess = [...text.matchAll(/^# TYPE (podline_(?:process|nodejs)_\S+) /gm)].map(([, name = '']) => name);
    const wrong = expressions.flatMap(({ where, expr }) => {
      const found = looked(expr);
      if (found === undefined) return [`${where}: no PromQL: ${expr}`];
      const families = found.metrics.map(familyOf);
      const unknown = families.filter((name) => !(name in catalogue) && !ofProcess.includes(name));
      const labels = new Set([...families.flatMap((name) => catalogue[name]?.labels ?? []), 'le']);
      return [
        ...(found.metrics.length === 0 ? [`${where}: looks at nothing`] : []),
        ...unknown.map((name) => `${where}: there is no ${name}`),
        ...found.labels.filter((label) => !labels.has(label)).map((label) => `${where}: no label ${label}`),
      ];
    });
    expect(wrong).toEqual([]);
    expect(looked('sum by (pipeline (podline_shards)')).toBeUndefined();
  });

  it('each alert is told of in the runbook, and nothing else is', () => {
    const sections = [...read('docs/runbook.md').matchAll(/^## (\w+)$/gm)].map(([, name]) => name);
    expect(sections).toEqual(rules.map(({ alert }) => alert));
    expect(rules.filter(({ alert, annotations }) => annotations.runbook !== `docs/runbook.md#${alert.toLowerCase()}`)).toEqual(
      [],
    );
  });
});
