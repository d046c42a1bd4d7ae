/** The page of statistics: HTML that the server makes, shown with no script and nothing from anywhere. */

import * as vscode from "vscode";
import { coderLsp } from "./cli";
import { ServerCommand, type Page } from "./protocol";
import type { Session } from "./session";

/** Even if the page had them, no script would run and nothing would be fetched. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'";

export class Statistics implements vscode.Disposable {
  private panel: vscode.WebviewPanel | undefined;

  constructor(private readonly session: Session) {}

  async show(): Promise<void> {
    const { html } = await this.session.execute<Page>(ServerCommand.statsPage);
    if (this.panel === undefined) {
      this.panel = vscode.window.createWebviewPanel(
        "coderLsp.statistics",
        "coder-lsp statistics",
        vscode.ViewColumn.Active,
        { enableScripts: false, enableCommandUris: false, enableForms: false, localResourceRoots: [] },
      );
      this.panel.onDidDispose(() => {
        this.panel = undefined;
      });
    }
    this.panel.webview.html = guarded(html);
    this.panel.reveal();
  }

  async refresh(): Promise<void> {
    if (this.panel !== undefined) {
      await this.show();
    }
  }

  async delete(): Promise<void> {
    const answer = await vscode.window.showWarningMessage(
      "Delete all statistics?",
      { modal: true, detail: "The history of suggestions on this machine, and the filter trained on it. There is no undo." },
      "Delete",
    );
    if (answer !== "Delete") {
      return;
    }
    const { code, output } = await coderLsp(this.session, ["stats", "--forget"], AbortSignal.timeout(60_000));
    if (code !== 0) {
      throw new Error(output.trim().split("\n")[0] ?? "the statistics could not be deleted");
    }
    void vscode.window.showInformationMessage("coder-lsp: the statistics are deleted.");
    await this.refresh();
  }

  dispose(): void {
    this.panel?.dispose();
  }
}

/** The page with our policy as the first thing in it. */
export function guarded(html: string): string {
  const policy = `<meta http-equiv="Content-Security-Policy" content="${POLICY}">`;
  return /<head[^>]*>/i.test(html) ? html.replace(/<head[^>]*>/i, (head) => head + policy) : policy + html;
}
