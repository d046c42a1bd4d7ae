/** Pausing and resuming, everywhere or for the language or file in front. Holds for this window until it is closed. */

import * as vscode from "vscode";
import { ServerCommand } from "./protocol";
import type { Session } from "./session";
import type { StateBoard } from "./state";

export type Where = "everywhere" | "language" | "file";

export async function setPaused(session: Session, board: StateBoard, where: Where, on: boolean): Promise<void> {
  const scope = scopeOf(where);
  if (scope === undefined) {
    void vscode.window.showInformationMessage("coder-lsp: open a file first.");
    return;
  }
  await tell(session, scope, on);
  board.setPaused(scope, on);
  if (on) {
    // What was suggested before stands there still.
    await vscode.commands.executeCommand("editor.action.inlineSuggest.hide");
  }
}

/** Take back every pause that keeps this document from suggestions. */
export async function resumeHere(session: Session, board: StateBoard): Promise<void> {
  const document = vscode.window.activeTextEditor?.document;
  for (let scope = board.pausedFor(document); scope !== undefined; scope = board.pausedFor(document)) {
    await tell(session, scope, false);
    board.setPaused(scope, false);
  }
}

async function tell(session: Session, scope: string | null, on: boolean): Promise<void> {
  // Where it does not run it is told when it starts.
  if (session.running) {
    await session.execute(on ? ServerCommand.pause : ServerCommand.resume, scope === null ? [] : [scope]);
  }
}

function scopeOf(where: Where): string | null | undefined {
  const document = vscode.window.activeTextEditor?.document;
  switch (where) {
    case "everywhere":
      return null;
    case "language":
      return document?.languageId;
    case "file":
      return document?.uri.toString();
  }
}
