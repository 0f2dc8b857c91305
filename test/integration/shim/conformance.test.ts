import { entryPath } from '../../../runtime/platform/entries.js';
import { shimConformance } from '../../contract/shim.js';

shimConformance('the Node shim', [process.execPath, entryPath('sidecars/shim/main')]);
