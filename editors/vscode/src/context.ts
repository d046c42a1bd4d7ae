/** Shows what of other files the model would see at the cursor. */

import * as vscode from "vscode";
import type { Pages } from "./pages";
import { ServerCommand, type SeenContext } from "./protocol";
import type { Session } from "./session";

export async function showContext(session: Session, pages: Pages): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined || !session.knows(editor.document)) {
    void vscode.window.showInformationMessage("coder-lsp: open a file and put the cursor where you write.");
    return;
  }
  const uri = editor.document.uri.toString();
  const { line, character } = editor.selection.active;
  const seen = await session.execute<SeenContext>(ServerCommand.context, [{ uri, position: { line, character } }]);
  const place = `${vscode.workspace.asRelativePath(editor.document.uri)}:${String(line + 1)}:${String(character + 1)}`;
  await pages.show("What the model sees", pageOf(place, seen), vscode.ViewColumn.Beside);
}

/** Lines count from 1 here, as in the editor. */
export function pageOf(place: string, seen: SeenContext): string {
  const lines = [
    `Code of other files for ${place}`,
    "",
    "Besides it sees the file itself, around the cursor.",
    "Nothing of this leaves your machine.",
    "",
  ];
  if (seen.snippets.length === 0) {
    lines.push(`Nothing${seen.reason ? `: ${seen.reason}` : "."}`);
    return `${lines.join("\n")}\n`;
  }
  const count = seen.snippets.length;
  lines.push(`${String(seen.tokens)} of at most ${String(seen.budget)} tokens, ${String(count)} piece${count === 1 ? "" : "s"}:`, "");
  seen.snippets.forEach((snippet, number) => {
    const range = `${snippet.path}:${String(snippet.startLine + 1)}-${String(snippet.endLine)}`;
    lines.push(`  ${String(number + 1)}. ${range}  (${snippet.source}, score ${snippet.score.toFixed(2)})`);
  });
  lines.push("", "The block as the model gets it:", "", "─".repeat(80), seen.text);
  return `${lines.join("\n")}\n`;
}
