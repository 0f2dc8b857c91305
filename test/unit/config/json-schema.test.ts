import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { manifestJsonSchema } from '../../../runtime/config/json-schema.js';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { manifestDocument, schemaDocument } from '../../../scripts/documents.mjs';

const committed = (name: string): string => readFileSync(join(packageRoot, 'docs', name), 'utf8');

it('docs/pipeline.schema.json and docs/manifest.md are what the validator goes by; `npm run generate` writes them', () => {
  expect(committed('pipeline.schema.json')).toBe(schemaDocument(manifestJsonSchema()));
  expect(committed('manifest.md')).toBe(manifestDocument(manifestJsonSchema()));
});

it('the reference tells the meaning of every field', () => {
  const rows = committed('manifest.md')
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  // What has a section of its own is explained there.
  expect(rows.filter((line) => line.endsWith('|  |') && !line.includes('](#'))).toEqual([]);
});

it('fields with a default may be left out, the others may not', () => {
  const spec = (manifestJsonSchema().properties?.spec ?? {}) as { required?: string[]; additionalProperties?: unknown };
  expect(spec.required).toEqual(['stages']);
  expect(spec.additionalProperties).toBe(false);
});
