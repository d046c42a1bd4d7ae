/** Which server to start: the setting, else the one that this extension installed, else the one on the PATH. */

import * as path from "node:path";
import * as vscode from "vscode";
import { installedServer } from "./installed";
import { expandHome, isProgram, which } from "./paths";
import { own } from "./settings";

export interface Server {
  command: string;
  /** What comes before a subcommand such as `serve`. */
  args: string[];
  origin: "setting" | "installed" | "path";
}

/** There is none; `reason` says what to do about it if the setting is to blame. */
export interface NoServer {
  reason: string;
}

export async function locateServer(context: vscode.ExtensionContext): Promise<Server | NoServer> {
  const given = own("server.path", "").trim();
  if (given) {
    // Someone who names a server wants that one; another one in its place would hide the mistake.
    const named = expandHome(given);
    const command = path.isAbsolute(named) ? named : await which(named);
    if (command && (await isProgram(command))) {
      return { command, args: [], origin: "setting" };
    }
    return { reason: `the setting coder-lsp.server.path names no program: ${given}` };
  }
  const installed = await installedServer(context);
  if (installed) {
    // -I: nothing of the folder it runs in, of PYTHONPATH or of the user's site-packages is imported.
    return { command: installed.python, args: ["-I", "-m", "coder_lsp"], origin: "installed" };
  }
  const found = await which("coder-lsp");
  return found ? { command: found, args: [], origin: "path" } : { reason: "" };
}

export function isServer(found: Server | NoServer): found is Server {
  return "command" in found;
}
