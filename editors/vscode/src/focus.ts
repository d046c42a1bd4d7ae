/** Tells the server where the user is, so that it reads that place before a suggestion is asked for. */

import * as vscode from "vscode";
import { Method } from "./protocol";
import type { Session } from "./session";

/** A movement of so many lines is a jump; less is in what the server has read. */
const JUMP_LINES = 10;

export class Focus implements vscode.Disposable {
  private readonly disposables: vscode.Disposable[];
  private place: { uri: string; line: number } | undefined;

  constructor(private readonly session: Session) {
    this.disposables = [
      vscode.window.onDidChangeActiveTextEditor(() => {
        this.tell();
      }),
      vscode.window.onDidChangeTextEditorSelection((event) => {
        if (event.textEditor === vscode.window.activeTextEditor && this.isJump(event.textEditor)) {
          this.tell();
        }
      }),
      session.onDidStart(() => {
        this.tell();
      }),
    ];
  }

  dispose(): void {
    vscode.Disposable.from(...this.disposables).dispose();
  }

  private isJump(editor: vscode.TextEditor): boolean {
    const before = this.place;
    const { line } = editor.selection.active;
    if (before?.uri !== editor.document.uri.toString()) {
      return true;
    }
    const jumped = Math.abs(line - before.line) >= JUMP_LINES;
    if (!jumped) {
      // Line by line one gets anywhere, and the server follows by the requests.
      before.line = line;
    }
    return jumped;
  }

  private tell(): void {
    const editor = vscode.window.activeTextEditor;
    if (editor === undefined || !this.session.knows(editor.document)) {
      return;
    }
    const { line, character } = editor.selection.active;
    const uri = editor.document.uri.toString();
    this.place = { uri, line };
    this.session.notify(Method.didFocus, { textDocument: { uri }, position: { line, character } });
  }
}
