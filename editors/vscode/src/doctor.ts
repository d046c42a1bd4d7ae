/** Runs `coder-lsp doctor` and shows what it found. */

import * as vscode from "vscode";
import { coderLsp } from "./cli";
import type { Pages } from "./pages";
import type { Session } from "./session";

export async function doctor(session: Session, pages: Pages): Promise<void> {
  const finished = await vscode.window.withProgress(
    {
      location: vscode.ProgressLocation.Notification,
      title: "coder-lsp: the doctor looks at the installation, the model and a real completion",
      cancellable: true,
    },
    async (_, token) => {
      const abort = new AbortController();
      token.onCancellationRequested(() => {
        abort.abort();
      });
      try {
        return await coderLsp(session, ["doctor", ...asServed(session)], abort.signal);
      } catch (error) {
        if (token.isCancellationRequested) {
          return undefined;
        }
        throw error;
      }
    },
  );
  if (finished) {
    await pages.show("coder-lsp doctor", finished.output, vscode.ViewColumn.Active);
  }
}

/** The doctor reads config.toml and knows nothing of the editor's settings. */
function asServed(session: Session): string[] {
  const { model, offline } = session.explicit();
  return [...(typeof model === "string" ? ["--model", model] : []), ...(offline === true ? ["--offline"] : [])];
}
