/** Runs the program's other commands: with the settings that the server has, away from the workspace's folder. */

import { execFile } from "node:child_process";
import * as path from "node:path";
import { promisify } from "node:util";
import type { Session } from "./session";
import { NotRunning } from "./session";

const run = promisify(execFile);

export interface Finished {
  code: number;
  output: string;
}

export async function coderLsp(session: Session, args: string[], signal: AbortSignal): Promise<Finished> {
  const server = session.program;
  if (server === undefined) {
    throw new NotRunning();
  }
  const options = {
    cwd: path.dirname(session.logFile.fsPath),
    env: { ...process.env, NO_COLOR: "1", COLUMNS: "120" },
    maxBuffer: 16 * 1024 * 1024,
    signal,
  };
  try {
    const { stdout, stderr } = await run(server.command, [...server.args, ...args], options);
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: number | string; stdout?: string; stderr?: string };
    if (typeof code !== "number") {
      throw error;
    }
    return { code, output: (stdout ?? "") + (stderr ?? "") };
  }
}
