import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { manifestJsonSchema } from '../../../runtime/config/json-schema.js';
import { packageRoot } from '../../../runtime/platform/entries.js';
import { schemaDocument } from '../../../scripts/documents.mjs';

it('docs/pipeline.schema.json is what the validator goes by; `npm run schema` writes it', () => {
  expect(readFileSync(join(packageRoot, 'docs', 'pipeline.schema.json'), 'utf8')).toBe(schemaDocument(manifestJsonSchema()));
});

it('fields with a default may be left out, the others may not', () => {
  const spec = (manifestJsonSchema().properties?.spec ?? {}) as { required?: string[]; additionalProperties?: unknown };
  expect(spec.required).toEqual(['stages']);
  expect(spec.additionalProperties).toBe(false);
});
