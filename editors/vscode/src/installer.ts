/**
 * Installs the server: a private virtual environment in the extension's own folder, and pip.
 *
 * Never on its own: whoever calls has asked. Nothing outside the folder is written but pip's own cache, which is what
 * makes a second try after a failure quick: llama.cpp is compiled once.
 */

import { spawn } from "node:child_process";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import * as vscode from "vscode";
import { diagnose, progressOf } from "./pip";
import { bundledServer, serverFolder, takeUp } from "./installed";
import { expandHome, pythonOf, WINDOWS } from "./paths";
import { findPython, Missing, requireCompiler } from "./python";
import { own } from "./settings";

const TAIL_LINES = 60;
const KILL_AFTER_MS = 5000;

export type Report = (message: string) => void;

export class Cancelled extends Error {}

/** A failure in one line for the user, with the next step. */
export class InstallFailed extends Error {}

export class Installer {
  private running: AbortController | undefined;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly output: vscode.LogOutputChannel,
  ) {}

  get busy(): boolean {
    return this.running !== undefined;
  }

  /** End what runs; for the end of the extension. */
  dispose(): void {
    this.running?.abort();
  }

  /**
   * Install and take up what was installed.
   *
   * @throws Cancelled, InstallFailed
   */
  async install(report: Report, cancellation: vscode.CancellationToken): Promise<string> {
    if (this.running) {
      throw new InstallFailed("The server is being installed already.");
    }
    const abort = new AbortController();
    this.running = abort;
    const stop = cancellation.onCancellationRequested(() => {
      abort.abort();
    });
    const root = serverFolder(this.context);
    let unlock: (() => Promise<void>) | undefined;
    try {
      await fs.mkdir(root, { recursive: true, mode: 0o700 });
      unlock = await lock(path.join(root, "install.lock"));
      return await this.installInto(root, report, abort.signal);
    } catch (error) {
      this.output.error(String(error));
      if (abort.signal.aborted) {
        throw new Cancelled("cancelled", { cause: error });
      }
      if (error instanceof InstallFailed) {
        throw error;
      }
      throw new InstallFailed(error instanceof Error ? error.message : String(error), { cause: error });
    } finally {
      stop.dispose();
      await unlock?.();
      this.running = undefined;
    }
  }

  private async installInto(root: string, report: Report, signal: AbortSignal): Promise<string> {
    report("looking for Python");
    const { requirement, source, compiles } = await this.what();
    const base = await findPython(own("server.python", "").trim());
    if (compiles) {
      await requireCompiler();
    }
    this.output.info(`installing ${requirement} with ${base}`);
    const folder = await freshName(root, source);
    const venv = path.join(root, folder);
    try {
      report("making a virtual environment");
      await this.run(base, ["-I", "-m", "venv", venv], report, signal);
      const python = pythonOf(venv);
      report("reading what is needed");
      // -v: the compiler's counter is what shows that it goes on.
      const pip = ["-I", "-m", "pip", "install", "-v", "--no-input", "--disable-pip-version-check", requirement];
      await this.run(python, pip, report, signal);
      report("trying it");
      const version = (await this.run(python, ["-I", "-m", "coder_lsp", "--version"], report, signal)).trim();
      await takeUp(this.context, folder, version, source);
      this.output.info(`installed: ${version}`);
      return version;
    } catch (error) {
      await fs.rm(venv, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
  }

  private async what(): Promise<{ requirement: string; source: string; compiles: boolean }> {
    const named = own("server.package", "").trim();
    if (named) {
      return { requirement: expandHome(named), source: named, compiles: false };
    }
    const bundled = await bundledServer(this.context);
    if (bundled === undefined) {
      throw new Missing(
        "This copy of the extension came without the server. Set coder-lsp.server.package to what pip should install.",
      );
    }
    return { requirement: bundled.file, source: bundled.digest, compiles: true };
  }

  /** Run a program with its output in the channel; returns stdout's end. */
  private async run(command: string, args: string[], report: Report, signal: AbortSignal): Promise<string> {
    if (signal.aborted) {
      throw new Cancelled("cancelled");
    }
    this.output.info(`$ ${command} ${args.join(" ")}`);
    // A group of its own, so that a cancel ends pip with all its compilers.
    const child = spawn(command, args, {
      cwd: serverFolder(this.context),
      detached: !WINDOWS,
      env: pipEnvironment(),
      stdio: ["ignore", "pipe", "pipe"],
    });
    const tail: string[] = [];
    const out: string[] = [];
    const take = (into?: string[]) =>
      lineReader((line) => {
        this.output.info(line);
        into?.push(line);
        tail.push(line);
        if (tail.length > TAIL_LINES) {
          tail.shift();
        }
        const message = progressOf(line);
        if (message) {
          report(message);
        }
      });
    child.stdout.on("data", take(out));
    child.stderr.on("data", take());
    const kill = () => {
      endGroup(child.pid);
    };
    signal.addEventListener("abort", kill, { once: true });
    try {
      const code = await new Promise<number | null>((resolve, reject) => {
        child.once("error", reject);
        child.once("close", resolve);
      });
      if (code !== 0) {
        this.output.error(tail.slice(-25).join("\n"));
        throw new InstallFailed(diagnose(tail.join("\n"), code));
      }
      return out.slice(-3).join("\n");
    } finally {
      signal.removeEventListener("abort", kill);
    }
  }
}

function pipEnvironment(): NodeJS.ProcessEnv {
  return {
    ...process.env,
    // A user's `pip install --user` default fails inside a virtual environment.
    PIP_USER: "0",
    PIP_REQUIRE_VIRTUALENV: "0",
    PYTHONUNBUFFERED: "1",
    // LLAVA_BUILD is the multimodal part, a quarter of the compile time, which completion has no use for.
    CMAKE_ARGS: `-DLLAVA_BUILD=OFF ${process.env.CMAKE_ARGS ?? ""}`.trim(),
  };
}

/** A folder name that no installation has: one that is in use is not written over. */
async function freshName(root: string, source: string): Promise<string> {
  const names = await fs.readdir(root);
  const stem = source.replace(/[^A-Za-z0-9]+/g, "-").slice(0, 24);
  for (let number = 1; ; number += 1) {
    const name = `${stem}-${String(number)}`;
    if (!names.includes(name)) {
      return name;
    }
  }
}

/** Only one window installs at a time. A lock whose process is gone is nobody's. */
async function lock(file: string): Promise<() => Promise<void>> {
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      await fs.writeFile(file, String(process.pid), { flag: "wx", mode: 0o600 });
      return () => fs.rm(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
        throw error;
      }
      const owner = Number(await fs.readFile(file, "utf8").catch(() => ""));
      if (owner > 0 && isAlive(owner)) {
        throw new InstallFailed("Another window is installing the server. Wait for it, then try again.", {
          cause: error,
        });
      }
      await fs.rm(file, { force: true });
    }
  }
  throw new InstallFailed("Another window has just begun to install the server.");
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) {
    return;
  }
  const signal = (name: NodeJS.Signals) => {
    try {
      process.kill(WINDOWS ? pid : -pid, name);
    } catch {
      // It has ended.
    }
  };
  signal("SIGTERM");
  setTimeout(() => {
    signal("SIGKILL");
  }, KILL_AFTER_MS).unref();
}

/** Whole lines out of chunks of bytes. */
function lineReader(take: (line: string) => void): (chunk: Buffer) => void {
  let rest = "";
  return (chunk) => {
    const lines = (rest + chunk.toString("utf8")).split(/\r?\n|\r/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      take(line);
    }
  };
}
