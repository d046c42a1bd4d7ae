/** What the extension knows of itself and its server: one value, its changes, and the pauses the user has asked for. */

import * as vscode from "vscode";
import type { ServerStatus } from "./protocol";

/** What the language client's process is doing, which the server cannot tell. */
export type Life = "none" | "installing" | "starting" | "running" | "restarting" | "failed";

export interface State {
  life: Life;
  /** Why there is none, or why it failed; what pip is doing while installing. */
  note: string;
  /** What the server said last; undefined until it has said something. */
  server: ServerStatus | undefined;
}

export class StateBoard {
  private readonly changes = new vscode.EventEmitter<State>();
  private value: State = { life: "starting", note: "", server: undefined };
  readonly onDidChange = this.changes.event;

  /** Paused in this window: null is everywhere, else a language id or a document's URI. */
  readonly paused = new Set<string | null>();

  get current(): State {
    return this.value;
  }

  update(change: Partial<State>): void {
    this.value = { ...this.value, ...change };
    const { life, server } = this.value;
    setContext("running", life === "running");
    setContext("modelReady", server?.state === "ready" || server?.state === "generating");
    this.changes.fire(this.value);
  }

  setPaused(scope: string | null, on: boolean): void {
    if (on) {
      this.paused.add(scope);
    } else {
      this.paused.delete(scope);
    }
    setContext("paused", this.paused.has(null));
    this.changes.fire(this.value);
  }

  /** What keeps this document from getting suggestions: null everywhere, its language, itself, or nothing. */
  pausedFor(document: vscode.TextDocument | undefined): string | null | undefined {
    if (this.paused.has(null)) {
      return null;
    }
    if (document === undefined) {
      return undefined;
    }
    return [document.languageId, document.uri.toString()].find((scope) => this.paused.has(scope));
  }

  dispose(): void {
    this.changes.dispose();
  }
}

/** A context key that `when` clauses and the walkthrough read. */
export function setContext(name: string, value: unknown): void {
  void vscode.commands.executeCommand("setContext", `coderLsp.${name}`, value);
}
