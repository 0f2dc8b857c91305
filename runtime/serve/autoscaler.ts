/** The autoscaler beside Podline that a coordinator's configuration names. */
import { whyNotUrl } from '../access/places.js';
import type { Autoscaler } from '../contracts/capacity.js';
import { PodlineError } from '../contracts/errors.js';
import type { ServerConfig } from '../contracts/server-config.js';
import { openCommandMessenger, openWebhookMessenger } from '../coordinator/other-autoscalers.js';
import { openToldAutoscaler, type Messenger } from '../coordinator/told-autoscaler.js';
import { systemClock } from '../platform/clock.js';
import type { Logger } from '../platform/logger.js';
import { readSecrets } from './secrets.js';

/** Undefined where there is none. Throws PDL_CONFIG_INVALID. */
export async function openServedAutoscaler(config: ServerConfig, logger: Logger): Promise<Autoscaler | undefined> {
  const messenger = await messengerOf(config);
  return messenger === undefined ? undefined : openToldAutoscaler({ messenger, clock: systemClock, logger });
}

async function messengerOf({ autoscaler, webhooks }: ServerConfig): Promise<Messenger | undefined> {
  if (autoscaler === undefined) return undefined;
  const { command, webhook, timeoutSeconds } = autoscaler;
  const timeoutMs = timeoutSeconds * 1_000;
  if (command !== undefined) return openCommandMessenger(command, timeoutMs);
  if (webhook === undefined || webhooks.secret === undefined) return undefined;
  const why = whyNotUrl(new URL(webhook.url), webhooks);
  if (why !== undefined)
    throw new PodlineError('PDL_CONFIG_INVALID', `autoscaler.webhook.url: the address is not allowed: ${why}`, {
      place: 'autoscaler.webhook.url',
      hint: 'Allow it in webhooks: hosts, schemes, privateAddresses.',
    });
  const secrets = await readSecrets(webhooks.secret);
  const timestamp = (): number => Math.floor(Date.now() / 1_000);
  return openWebhookMessenger({ url: webhook.url, secrets, allowed: webhooks, timeoutMs, timestamp });
}
