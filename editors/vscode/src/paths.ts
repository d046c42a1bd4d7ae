/** Files and folders of the extension, and programs on the PATH. */

import * as fs from "node:fs/promises";
import { constants } from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

export const WINDOWS = process.platform === "win32";

/** `~` at the beginning is the home folder; the rest stays. */
export function expandHome(file: string): string {
  return file === "~" || file.startsWith("~/") ? path.join(os.homedir(), file.slice(1)) : file;
}

export async function isProgram(file: string): Promise<boolean> {
  try {
    await fs.access(file, constants.X_OK);
    return (await fs.stat(file)).isFile();
  } catch {
    return false;
  }
}

export async function exists(file: string): Promise<boolean> {
  return fs.access(file).then(
    () => true,
    () => false,
  );
}

/**
 * The first program of this name on the PATH.
 *
 * Entries that are no absolute path are passed over: they would mean something in the workspace, and a cloned
 * repository must not choose what is started.
 */
export async function which(name: string): Promise<string | undefined> {
  const names = WINDOWS ? [`${name}.exe`, `${name}.cmd`] : [name];
  for (const folder of (process.env.PATH ?? "").split(path.delimiter)) {
    if (!path.isAbsolute(folder)) {
      continue;
    }
    for (const each of names) {
      const file = path.join(folder, each);
      if (await isProgram(file)) {
        return file;
      }
    }
  }
  return undefined;
}

/** The Python inside a virtual environment. */
export function pythonOf(venv: string): string {
  return WINDOWS ? path.join(venv, "Scripts", "python.exe") : path.join(venv, "bin", "python");
}
