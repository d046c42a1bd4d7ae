/**
 * The server that this extension has installed: what there is, what the extension carries, and which of them is newer.
 *
 * Every installation has a folder of its own, named after what was installed, and `current.json` names the one in use.
 * It is written last, so an installation that was broken off is one that never was.
 */

import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import * as vscode from "vscode";
import { isProgram, pythonOf } from "./paths";

export interface Installed {
  folder: string;
  python: string;
  version: string;
  /** What was installed: a digest of the file that comes with the extension, or a requirement. */
  source: string;
}

/** A source distribution inside the .vsix. */
export interface Bundled {
  file: string;
  digest: string;
}

export function serverFolder(context: vscode.ExtensionContext): string {
  return path.join(context.globalStorageUri.fsPath, "server");
}

export async function installedServer(context: vscode.ExtensionContext): Promise<Installed | undefined> {
  const root = serverFolder(context);
  try {
    const text = await fs.readFile(path.join(root, "current.json"), "utf8");
    const { folder, version, source } = JSON.parse(text) as { folder: string; version: string; source: string };
    const python = pythonOf(path.join(root, folder));
    return (await isProgram(python)) ? { folder, python, version, source } : undefined;
  } catch {
    return undefined;
  }
}

/** Make `folder` the one in use; the one before it stays, for other windows run from it. */
export async function takeUp(context: vscode.ExtensionContext, folder: string, version: string, source: string) {
  const root = serverFolder(context);
  const before = (await installedServer(context))?.folder;
  const beside = path.join(root, `current.json.${String(process.pid)}`);
  await fs.writeFile(beside, JSON.stringify({ folder, version, source }), { mode: 0o600 });
  await fs.rename(beside, path.join(root, "current.json"));
  for (const entry of await fs.readdir(root, { withFileTypes: true })) {
    if (entry.isDirectory() && entry.name !== folder && entry.name !== before) {
      await fs.rm(path.join(root, entry.name), { recursive: true, force: true }).catch(() => undefined);
    }
  }
}

/** What this extension brings along; undefined in an extension that was packaged without it. */
export async function bundledServer(context: vscode.ExtensionContext): Promise<Bundled | undefined> {
  const folder = path.join(context.extensionPath, "dist");
  const names = await fs.readdir(folder).catch(() => []);
  const name = names.filter((each) => /^coder_lsp-.*\.tar\.gz$/.test(each)).sort().pop();
  if (name === undefined) {
    return undefined;
  }
  const file = path.join(folder, name);
  return { file, digest: createHash("sha256").update(await fs.readFile(file)).digest("hex").slice(0, 16) };
}
