/** The item in the status bar; what it says is decided in `view`. */

import * as vscode from "vscode";
import type { StateBoard } from "./state";
import { viewOf, type View } from "./view";

/** A suggestion from what is there already takes a few milliseconds; a spinner for it would only flicker. */
const SPINNER_AFTER_MS = 150;

export class StatusBar implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem("coderLsp.status", vscode.StatusBarAlignment.Right, 100);
  private readonly disposables: vscode.Disposable[] = [];
  private spinner: NodeJS.Timeout | undefined;

  constructor(private readonly board: StateBoard) {
    this.item.name = "coder-lsp";
    this.item.command = "coderLsp.menu";
    this.disposables.push(
      board.onDidChange(() => {
        this.refresh();
      }),
      vscode.window.onDidChangeActiveTextEditor(() => {
        this.refresh();
      }),
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration("coder-lsp.ui")) {
          this.refresh();
        }
      }),
    );
    this.refresh();
  }

  dispose(): void {
    clearTimeout(this.spinner);
    vscode.Disposable.from(this.item, ...this.disposables).dispose();
  }

  private refresh(): void {
    const pausedBy = this.board.pausedFor(vscode.window.activeTextEditor?.document);
    const view = viewOf(this.board.current, pausedBy);
    clearTimeout(this.spinner);
    if (view.kind === "generating") {
      this.spinner = setTimeout(() => {
        this.show(view);
      }, SPINNER_AFTER_MS);
    } else {
      this.show(view);
    }
  }

  private show(view: View): void {
    if (!vscode.workspace.getConfiguration("coder-lsp").get<boolean>("ui.statusBar", true)) {
      this.item.hide();
      return;
    }
    const offline = this.board.current.server?.offline ? " $(debug-disconnect)" : "";
    this.item.text = `$(${view.icon}) coder-lsp${view.text ? `: ${view.text}` : ""}${offline}`;
    const tooltip = new vscode.MarkdownString(`**coder-lsp: ${view.title}**`);
    for (const line of view.lines) {
      tooltip.appendMarkdown(`\n\n${line}`);
    }
    this.item.tooltip = tooltip;
    this.item.accessibilityInformation = { label: `coder-lsp: ${view.title}`, role: "button" };
    this.item.backgroundColor =
      view.severity === undefined ? undefined : new vscode.ThemeColor(`statusBarItem.${view.severity}Background`);
    this.item.show();
  }
}
