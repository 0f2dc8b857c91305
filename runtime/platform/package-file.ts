/** Files of installed packages by `package/path`, whatever the package exports: what `npm:` sources and data imports mean. */
import { access } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** The first `node_modules/<specifier>` in one of the folders or above it. */
export async function packageFile(specifier: string, folders: readonly string[]): Promise<string | undefined> {
  for (const start of folders) {
    for (let folder = start; ; folder = dirname(folder)) {
      const path = join(folder, 'node_modules', specifier);
      if (
        await access(path).then(
          () => true,
          () => false,
        )
      )
        return path;
      if (folder === dirname(folder)) break;
    }
  }
  return undefined;
}
