/**
 * Changes that the model proposes: shown as a diff against the document while they are written, then applied or dropped.
 *
 * The right side of the diff is a read-only document of ours. It is the user's text with the proposal in its place, so it
 * follows edits elsewhere. An edit at the place itself freezes it: it can no longer be applied, and stays to be copied.
 */

import * as path from "node:path";
import * as vscode from "vscode";
import { moved, replaced, type Place } from "./proposal";
import type { Preview } from "./protocol";
import { setContext } from "./state";

export const PROPOSAL_SCHEME = "coder-lsp-proposal";

const APPLY = "Apply";
const DISCARD = "Discard";

/** A text as it was when the model was asked about it. */
export interface Asked {
  id: string;
  title: string;
  document: vscode.TextDocument;
  text: string;
  version: number;
}

interface Proposal extends Asked {
  uri: vscode.Uri;
  /** Where it goes in the text that is; undefined once it was edited there. */
  place: Place | undefined;
  /** Where it goes in `text`; undefined before the first preview. */
  first: Place | undefined;
  /** What the right side shows. */
  shown: string;
  put: string;
  opened: Promise<void> | undefined;
  ready: boolean;
  /** Edits since it was asked for, while the place is not known. */
  edits: (readonly vscode.TextDocumentContentChangeEvent[])[];
}

export class Proposals implements vscode.Disposable, vscode.TextDocumentContentProvider {
  private readonly all = new Map<string, Proposal>();
  private readonly changes = new vscode.EventEmitter<vscode.Uri>();
  private readonly dropped = new vscode.EventEmitter<string>();
  private readonly disposables: vscode.Disposable[];
  readonly onDidChange = this.changes.event;
  /** The user does not want this one; whoever writes it may stop. */
  readonly onDidDrop = this.dropped.event;

  constructor() {
    this.disposables = [
      vscode.workspace.registerTextDocumentContentProvider(PROPOSAL_SCHEME, this),
      vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        this.edited(document, contentChanges);
      }),
      vscode.window.tabGroups.onDidChangeTabs(({ closed }) => {
        for (const proposal of closed.map((tab) => this.byUri(proposalOf(tab)))) {
          // A tab that is moved to another group is closed in its own.
          if (proposal !== undefined && tabsOf(proposal).length === 0) {
            this.drop(proposal);
          }
        }
      }),
    ];
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.byUri(uri)?.shown ?? "";
  }

  /** Before the model is asked, so that no edit is missed. */
  begin(asked: Asked): void {
    const uri = vscode.Uri.from({
      scheme: PROPOSAL_SCHEME,
      path: `/${path.posix.basename(asked.document.uri.path)}`,
      query: asked.id,
    });
    const empty = { place: undefined, first: undefined, opened: undefined, ready: false, put: "", edits: [] };
    this.all.set(asked.id, { ...asked, ...empty, uri, shown: asked.text });
  }

  /** What it would be so far; the diff opens with the first words. */
  update({ id, version, range, text }: Pick<Preview, "id" | "version" | "range" | "text">): void {
    const proposal = this.all.get(id);
    if (proposal === undefined || text === "") {
      return;
    }
    if (proposal.first === undefined) {
      proposal.first = placeIn(proposal.text, range);
      // Of another version than ours, its range would mean another place.
      proposal.place = version === proposal.version ? proposal.first : undefined;
      for (const edits of proposal.edits) {
        proposal.place &&= moved(proposal.place, edits);
      }
      proposal.edits = [];
    }
    proposal.put = text;
    this.render(proposal);
    proposal.opened ??= this.open(proposal);
  }

  /** The model has ended: ask what to do with it. */
  async end(answer: Pick<Preview, "id" | "version" | "range" | "text">): Promise<void> {
    this.update(answer);
    const proposal = this.all.get(answer.id);
    if (proposal === undefined) {
      return;
    }
    await proposal.opened;
    proposal.ready = true;
    setContext("proposal", true);
    const choice = await vscode.window.showInformationMessage(`coder-lsp: ${proposal.title} is ready.`, APPLY, DISCARD);
    // It may have been answered in the title of the diff meanwhile.
    if (choice === APPLY && this.all.has(answer.id)) {
      await this.apply(proposal.uri);
    } else if (choice === DISCARD) {
      await this.discard(proposal.uri);
    }
  }

  /** Put the proposal into its document, in one step to undo. Refused, and kept, where the text was changed meanwhile. */
  async apply(given?: vscode.Uri): Promise<void> {
    const proposal = this.chosen(given);
    if (proposal === undefined) {
      void vscode.window.showInformationMessage("coder-lsp: there is nothing to apply.");
      return;
    }
    if (!proposal.ready) {
      void vscode.window.showInformationMessage("coder-lsp: the model still writes this.");
      return;
    }
    const document = await vscode.workspace.openTextDocument(proposal.document.uri);
    // Edits that were taken back leave the place as good as it was.
    const place = proposal.place ?? (document.getText() === proposal.text ? proposal.first : undefined);
    if (place === undefined) {
      void vscode.window.showWarningMessage(
        "coder-lsp: the text was changed there meanwhile, so nothing was put into it. What the model wrote is still in view.",
      );
      return;
    }
    const edit = new vscode.WorkspaceEdit();
    const range = new vscode.Range(document.positionAt(place.start), document.positionAt(place.end));
    edit.replace(document.uri, range, proposal.put);
    // Ours is no edit of the user's: the diff is empty from here on.
    this.all.delete(proposal.id);
    if (!(await vscode.workspace.applyEdit(edit))) {
      this.all.set(proposal.id, proposal);
      void vscode.window.showWarningMessage("coder-lsp: the editor did not take the change. It is still in view.");
      return;
    }
    await this.close(proposal);
    const at = document.positionAt(place.start);
    await vscode.window.showTextDocument(document, { selection: new vscode.Range(at, at), preview: false });
  }

  /** Away with it, and stop the model where it still writes. */
  async discard(given?: vscode.Uri): Promise<void> {
    const proposal = this.chosen(given);
    if (proposal !== undefined) {
      this.drop(proposal);
      await this.close(proposal);
    }
  }

  async abandon(id: string): Promise<void> {
    const proposal = this.all.get(id);
    if (proposal !== undefined) {
      await this.discard(proposal.uri);
    }
  }

  dispose(): void {
    vscode.Disposable.from(this.changes, this.dropped, ...this.disposables).dispose();
  }

  private edited(document: vscode.TextDocument, edits: readonly vscode.TextDocumentContentChangeEvent[]): void {
    for (const proposal of this.all.values()) {
      if (proposal.document.uri.toString() !== document.uri.toString() || edits.length === 0) {
        continue;
      }
      if (proposal.first === undefined) {
        proposal.edits.push(edits);
      } else {
        proposal.place &&= moved(proposal.place, edits);
        this.render(proposal);
      }
    }
  }

  private render(proposal: Proposal): void {
    const { document, place, first } = proposal;
    if (place !== undefined) {
      proposal.shown = replaced(document.getText(), place, proposal.put);
    } else if (first !== undefined) {
      proposal.shown = replaced(proposal.text, first, proposal.put);
    }
    this.changes.fire(proposal.uri);
  }

  private async open(proposal: Proposal): Promise<void> {
    const right = await vscode.workspace.openTextDocument(proposal.uri);
    // A name does not always tell the language: an untitled file, a cell.
    if (right.languageId !== proposal.document.languageId) {
      await vscode.languages.setTextDocumentLanguage(right, proposal.document.languageId);
    }
    if (this.all.has(proposal.id)) {
      const title = `${path.posix.basename(proposal.document.uri.path)}: ${proposal.title}`;
      await vscode.commands.executeCommand("vscode.diff", proposal.document.uri, proposal.uri, title, { preview: false });
    }
  }

  private async close(proposal: Proposal): Promise<void> {
    await proposal.opened;
    await vscode.window.tabGroups.close(tabsOf(proposal));
    this.tell();
  }

  private drop(proposal: Proposal | undefined): void {
    if (proposal !== undefined && this.all.delete(proposal.id)) {
      this.dropped.fire(proposal.id);
      this.tell();
    }
  }

  private tell(): void {
    setContext("proposal", this.all.size > 0);
  }

  /** The one of a menu's document, else the one in front, else the last that is ready. */
  private chosen(given: vscode.Uri | undefined): Proposal | undefined {
    const front = vscode.window.tabGroups.activeTabGroup.activeTab;
    const last = [...this.all.values()].filter((proposal) => proposal.ready).at(-1);
    return this.byUri(given) ?? this.byUri(front && proposalOf(front)) ?? last;
  }

  private byUri(uri: vscode.Uri | undefined): Proposal | undefined {
    return uri?.scheme === PROPOSAL_SCHEME ? this.all.get(uri.query) : undefined;
  }
}

function tabsOf(proposal: Proposal): vscode.Tab[] {
  const tabs = vscode.window.tabGroups.all.flatMap((group) => group.tabs);
  return tabs.filter((tab) => proposalOf(tab)?.toString() === proposal.uri.toString());
}

function proposalOf(tab: vscode.Tab): vscode.Uri | undefined {
  const right = tab.input instanceof vscode.TabInputTextDiff ? tab.input.modified : undefined;
  return right?.scheme === PROPOSAL_SCHEME ? right : undefined;
}

/** The range in offsets; lines end with what VS Code's do. */
function placeIn(text: string, range: Preview["range"]): Place {
  const starts = [0];
  for (const end of text.matchAll(/\r\n|\r|\n/g)) {
    starts.push(end.index + end[0].length);
  }
  const offset = (at: { line: number; character: number }) => (starts[at.line] ?? text.length) + at.character;
  return { start: offset(range.start), end: offset(range.end) };
}
