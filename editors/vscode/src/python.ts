/** Finds a Python that the server can be installed with, and says what a machine lacks, before anything is started. */

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expandHome, which } from "./paths";

const run = promisify(execFile);

const NAMES = ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10", "python"];
const COMPILERS = ["c++", "g++", "clang++"];

/** Prints nothing for a Python that will do; else fails and says what is wrong with it. */
const CHECK = `
import sys
if sys.version_info < (3, 10):
    sys.exit("is Python %d.%d, and coder-lsp needs 3.10 or newer" % sys.version_info[:2])
try:
    import ensurepip, venv
except ImportError:
    sys.exit("has no venv module")
import os, sysconfig
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    sys.exit("has no header files (Python.h)")
`;

/** What must be installed first, in words for the user. */
export class Missing extends Error {}

/** The Python to use: the one given, or the first on the PATH that will do. */
export async function findPython(given: string): Promise<string> {
  const faults: string[] = [];
  for (const name of given ? [given] : NAMES) {
    const file = name.includes("/") || name.includes("\\") ? expandHome(name) : await which(name);
    if (file === undefined) {
      continue;
    }
    const fault = await faultOf(file);
    if (fault === undefined) {
      return file;
    }
    faults.push(`${file} ${fault}`);
  }
  if (given) {
    throw new Missing(`The setting coder-lsp.server.python cannot be used: ${faults[0] ?? `${given} is no program`}.`);
  }
  throw new Missing(`No usable Python: ${faults[0] ?? "there is no python3 on the PATH"}. ${howToGetPython()}`);
}

/** A C++ compiler must be there before ten minutes are spent on finding out that it is not. */
export async function requireCompiler(): Promise<void> {
  const named = process.env.CXX?.split(" ")[0];
  for (const name of named ? [named, ...COMPILERS] : COMPILERS) {
    // Asked for its version, because macOS has a c++ that only offers to install one.
    if (await run(name, ["--version"]).then(() => true, () => false)) {
      return;
    }
  }
  throw new Missing(`No C++ compiler: none of ${COMPILERS.join(", ")} works. ${howToGetCompiler()}`);
}

export function howToGetPython(): string {
  return process.platform === "darwin"
    ? "On macOS: brew install python."
    : "On Debian or Ubuntu: sudo apt install python3 python3-venv python3-dev.";
}

export function howToGetCompiler(): string {
  return process.platform === "darwin"
    ? "On macOS: xcode-select --install."
    : "On Debian or Ubuntu: sudo apt install g++.";
}

async function faultOf(python: string): Promise<string | undefined> {
  try {
    await run(python, ["-I", "-c", CHECK], { timeout: 30_000 });
    return undefined;
  } catch (error) {
    const stderr = (error as { stderr?: string }).stderr?.trim();
    return stderr?.split("\n").pop() ?? "cannot be started";
  }
}
