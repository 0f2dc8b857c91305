import { entryPath } from '../../../runtime/platform/entries.js';
import { shimConformance } from '../../contract/shim.js';
import { missing, needs } from '../../support/require.js';
import { staticShim } from '../../support/static-shim.js';

shimConformance('the Node shim', [process.execPath, entryPath('sidecars/shim/main')]);

needs('go').describe('the shim for images that know nothing of Podline', () => {
  shimConformance('the static shim', missing('go') === undefined ? [staticShim()] : []);
});
