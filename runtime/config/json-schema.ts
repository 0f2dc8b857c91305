/** The JSON Schema of the manifest, for editors and programs: from the zod schema that the validator uses. */
import { z } from 'zod';
import { pipelineSchema } from '../contracts/manifest.js';

export type JsonSchema = z.core.JSONSchema.JSONSchema;

let cached: JsonSchema | undefined;

/** Draft 2020-12, for what a person writes: fields with a default may be left out. */
export function manifestJsonSchema(): JsonSchema {
  cached ??= {
    $id: 'https://podline.dev/schemas/pipeline.v1alpha1.json',
    title: 'Podline pipeline',
    ...z.toJSONSchema(pipelineSchema, { io: 'input', target: 'draft-2020-12' }),
  };
  return cached;
}
