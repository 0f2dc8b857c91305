/** How names, durations and quantities are written in a manifest. */
import { z } from 'zod';

export const name = z
  .string()
  .min(1)
  .max(63)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, 'must be lower-case letters, digits and dashes, as a DNS label')
  .describe('Lower-case letters, digits and dashes.');
export const durationText = z
  .string()
  .regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'must be a duration such as 250ms, 90s, 10m or 2h')
  .describe('A duration: a number and ms, s, m, h or d.');
export const quantityText = z
  .union([
    z.string().regex(/^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/, 'must be a quantity such as 512Mi, 2Gi or 500m'),
    z.number().nonnegative(),
  ])
  .describe('A quantity as in Kubernetes.');
