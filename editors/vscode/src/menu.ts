/** The menu behind the status bar item: what is of use in the state that is. */

import * as vscode from "vscode";
import type { StateBoard } from "./state";
import { viewOf, type Kind } from "./view";

interface Entry extends vscode.QuickPickItem {
  command: string;
}

const ENTRY = {
  install: entry("cloud-download", "Install the server…", "coderLsp.installServer"),
  choose: entry("folder-opened", "Choose the path of the server…", "coderLsp.chooseServer"),
  model: entry("package", "Choose model…", "coderLsp.chooseModel"),
  context: entry("eye", "Show what the model sees here", "coderLsp.showContext"),
  trigger: entry("lightbulb", "Suggest now, with alternatives", "coderLsp.trigger"),
  statistics: entry("graph", "Show statistics", "coderLsp.statistics"),
  settings: entry("gear", "Open settings", "coderLsp.openSettings"),
  log: entry("output", "Open log", "coderLsp.openLog"),
  restart: entry("debug-restart", "Restart server and model", "coderLsp.restart"),
  doctor: entry("pulse", "Run doctor", "coderLsp.doctor"),
  walkthrough: entry("book", "Open walkthrough", "coderLsp.openWalkthrough"),
  pause: entry("debug-pause", "Pause everywhere", "coderLsp.pause"),
  resume: entry("play", "Resume everywhere", "coderLsp.resume"),
} as const;

export async function showMenu(board: StateBoard): Promise<void> {
  const document = vscode.window.activeTextEditor?.document;
  const view = viewOf(board.current, board.pausedFor(document));
  const note = view.lines[0]?.replace(/\\(.)/g, "$1");
  const picked = await vscode.window.showQuickPick(entriesFor(view.kind, board, document), {
    title: `coder-lsp: ${view.title}`,
    ...(note ? { placeHolder: note } : {}),
  });
  if (picked) {
    await vscode.commands.executeCommand(picked.command);
  }
}

function entriesFor(kind: Kind, board: StateBoard, document: vscode.TextDocument | undefined): Entry[] {
  const rest = [ENTRY.settings, ENTRY.walkthrough];
  switch (kind) {
    case "noServer":
      return [ENTRY.install, ENTRY.choose, ...rest];
    case "installing":
      return [ENTRY.log, ...rest];
    case "starting":
      return [ENTRY.log, ENTRY.restart, ...rest];
    case "failed":
    case "error":
      return [ENTRY.log, ENTRY.restart, ENTRY.doctor, ENTRY.model, ENTRY.choose, ...rest];
    case "paused":
      return [...pauses(board, document), ENTRY.model, ENTRY.statistics, ENTRY.log, ...rest];
    case "loading":
    case "generating":
    case "indexing":
    case "ready":
    case "idle":
      return [
        ...pauses(board, document),
        ENTRY.trigger,
        ENTRY.model,
        ENTRY.context,
        ENTRY.statistics,
        ENTRY.log,
        ENTRY.restart,
        ENTRY.doctor,
        ...rest,
      ];
  }
}

/** Resuming first: a pause is what the user came to take back. */
function pauses(board: StateBoard, document: vscode.TextDocument | undefined): Entry[] {
  const entries: Entry[] = [];
  const add = (scope: string | null, what: string, suffix: string) => {
    if (board.paused.has(scope)) {
      entries.unshift(entry("play", `Resume ${what}`, `coderLsp.resume${suffix}`));
    } else if (!board.paused.has(null)) {
      entries.push(entry("debug-pause", `Pause ${what}`, `coderLsp.pause${suffix}`));
    }
  };
  add(null, "everywhere", "");
  if (document) {
    add(document.languageId, `for ${document.languageId}`, "Language");
    add(document.uri.toString(), "for this file", "File");
  }
  return entries;
}

function entry(icon: string, label: string, command: string): Entry {
  return { label: `$(${icon}) ${label}`, command };
}
