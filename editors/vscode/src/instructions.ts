/** Has the model do what it is told with the code in front: write, rewrite, explain, test. Asks, shows, and lets stop. */

import { randomUUID } from "node:crypto";
import * as vscode from "vscode";
import { harmless } from "./proposal";
import { Proposals } from "./proposals";
import { ServerCommand, type Instructed, type Preview } from "./protocol";
import type { Session } from "./session";

const EXPLANATION_SCHEME = "coder-lsp-explanation";

/** Explanations that are kept: a preview whose tab was moved or hidden reads its text again. */
const KEPT = 16;

type Task = "generate" | "rewrite" | "explain" | "writeTests";

interface Words {
  doing: string;
  proposal: string;
  prompt: string;
  placeholder: string;
}

const WORDS: Record<Task, Words> = {
  generate: {
    doing: "writing code",
    proposal: "the new code",
    prompt: "What should be written at the cursor?",
    placeholder: "Leave empty to go by the comment above the cursor",
  },
  rewrite: {
    doing: "rewriting the selection",
    proposal: "the rewritten code",
    prompt: "How should the selection be changed?",
    placeholder: "For example: handle an empty list",
  },
  explain: {
    doing: "explaining the selection",
    proposal: "",
    prompt: "What do you want to know of the selection?",
    placeholder: "Leave empty for what it does",
  },
  writeTests: {
    doing: "writing tests",
    proposal: "",
    prompt: "What should the tests look at?",
    placeholder: "Leave empty for what there is to test",
  },
};

export class Instructions implements vscode.Disposable, vscode.TextDocumentContentProvider {
  readonly proposals = new Proposals();
  private readonly texts = new Map<string, string>();
  private readonly changes = new vscode.EventEmitter<vscode.Uri>();
  private readonly disposables: vscode.Disposable[];
  readonly onDidChange = this.changes.event;

  constructor(private readonly session: Session) {
    this.disposables = [
      vscode.workspace.registerTextDocumentContentProvider(EXPLANATION_SCHEME, this),
      // Code actions run commands of the server; there is more to see of them here than the library shows.
      session.handle(ServerCommand.explain, (argument) => this.explain(argument)),
      ...([ServerCommand.generate, ServerCommand.rewrite, ServerCommand.writeTests] as const).map((command) =>
        session.handle(command, (argument) => this.follow(command, argument)),
      ),
    ];
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.texts.get(uri.toString()) ?? "";
  }

  /** A command of the user's. `outline`: the model plans before it writes. */
  async run(task: Task, outline = false): Promise<void> {
    const editor = vscode.window.activeTextEditor;
    if (editor === undefined || !this.session.knows(editor.document)) {
      void vscode.window.showInformationMessage("coder-lsp: open a file and put the cursor where the code is.");
      return;
    }
    const { document, selection } = editor;
    if (task !== "generate" && selection.isEmpty) {
      void vscode.window.showInformationMessage("coder-lsp: select the code that this is about.");
      return;
    }
    const instruction = await askFor(task);
    if (instruction === undefined) {
      return;
    }
    const argument = { uri: document.uri.toString(), range: rangeOf(selection), instruction, outline };
    if (task === "explain") {
      await this.explain(argument);
    } else if (task === "writeTests") {
      await this.follow(ServerCommand.writeTests, argument);
    } else {
      await this.propose(task, document, argument);
    }
  }

  dispose(): void {
    vscode.Disposable.from(this.changes, this.proposals, ...this.disposables).dispose();
  }

  /** Show as a diff what the model would do, and let the user decide. */
  private async propose(task: "generate" | "rewrite", document: vscode.TextDocument, argument: object): Promise<void> {
    const id = randomUUID();
    const { doing, proposal } = WORDS[task];
    this.proposals.begin({ id, title: proposal, document, text: document.getText(), version: document.version });
    const answer = await this.asked(doing, ServerCommand[task], { ...argument, id, apply: false }, (preview) => {
      this.proposals.update(preview);
    }).catch(async (error: unknown) => {
      await this.proposals.abandon(id);
      throw error;
    });
    if (!answer?.text || answer.reason !== "") {
      await this.proposals.abandon(id);
      say(answer);
      return;
    }
    await this.proposals.end({ ...answer, id });
  }

  /** Markdown beside the code that grows while it is written. */
  private async explain(argument: object): Promise<void> {
    const id = randomUUID();
    const uri = vscode.Uri.from({ scheme: EXPLANATION_SCHEME, path: "/Explanation.md", query: id });
    let opened: Promise<void> | undefined;
    const show = (text: string) => {
      this.texts.delete(uri.toString());
      this.texts.set(uri.toString(), harmless(text));
      for (const oldest of [...this.texts.keys()].slice(0, -KEPT)) {
        this.texts.delete(oldest);
      }
      this.changes.fire(uri);
      opened ??= openBeside(uri);
    };
    const given = { ...argument, id, show: false };
    const answer = await this.asked(WORDS.explain.doing, ServerCommand.explain, given, ({ text }) => {
      if (text !== "") {
        show(text);
      }
    });
    if (answer?.text && answer.reason === "") {
      show(answer.text);
    } else {
      say(answer);
    }
    await opened;
  }

  /** Have the server make the change itself, in one edit. */
  private async follow(command: FollowedCommand, argument: object): Promise<void> {
    const task: Task = command === ServerCommand.generate ? "generate" : command === ServerCommand.rewrite ? "rewrite" : "writeTests";
    const answer = await this.asked(WORDS[task].doing, command, { ...argument, show: false });
    if (answer === undefined || answer.applied) {
      return;
    }
    say(answer);
    if (answer.text !== "") {
      // Nothing that was waited for is thrown away.
      const language = languageOf(argument);
      const document = await vscode.workspace.openTextDocument({ content: answer.text, ...(language ? { language } : {}) });
      await vscode.window.showTextDocument(document, { viewColumn: vscode.ViewColumn.Beside, preview: false });
    }
  }

  /** The answer; undefined if the user stopped it, which stops the model. */
  private async asked(
    doing: string,
    command: string,
    argument: object & { id?: string; show?: boolean; apply?: boolean },
    onPreview: (preview: Preview) => void = () => undefined,
  ): Promise<Instructed | undefined> {
    const stop = new vscode.CancellationTokenSource();
    const location = vscode.ProgressLocation.Notification;
    const listening = vscode.Disposable.from(
      this.session.onDidPreview((preview) => {
        if (preview.id === argument.id && !stop.token.isCancellationRequested) {
          onPreview(preview);
        }
      }),
      this.proposals.onDidDrop((id) => {
        if (id === argument.id) {
          stop.cancel();
        }
      }),
    );
    try {
      return await vscode.window.withProgress({ location, title: `coder-lsp: ${doing}`, cancellable: true }, (_, token) => {
        token.onCancellationRequested(() => {
          stop.cancel();
        });
        return this.session.execute<Instructed>(command, [argument], stop.token);
      });
    } catch (error) {
      if (stop.token.isCancellationRequested) {
        return undefined;
      }
      throw error;
    } finally {
      listening.dispose();
      stop.dispose();
    }
  }
}

type FollowedCommand = typeof ServerCommand.generate | typeof ServerCommand.rewrite | typeof ServerCommand.writeTests;

/** The instruction; undefined if the user went away. Only a rewrite needs one. */
async function askFor(task: Task): Promise<string | undefined> {
  const { prompt, placeholder } = WORDS[task];
  const given = await vscode.window.showInputBox({
    title: "coder-lsp",
    prompt,
    placeHolder: placeholder,
    validateInput: (text) => (task === "rewrite" && text.trim() === "" ? "Say how the code should be changed." : null),
  });
  return given?.trim();
}

function say(answer: Instructed | undefined): void {
  if (answer !== undefined) {
    void vscode.window.showInformationMessage(`coder-lsp: ${answer.reason || "the model wrote nothing."}`);
  }
}

async function openBeside(uri: vscode.Uri): Promise<void> {
  try {
    // Locked: it stays with this text when another Markdown file is looked at.
    await vscode.commands.executeCommand("markdown.showLockedPreviewToSide", uri);
  } catch {
    // VS Code's Markdown extension can be switched off.
    const document = await vscode.workspace.openTextDocument(uri);
    await vscode.window.showTextDocument(document, { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true });
  }
}

function languageOf(argument: object): string | undefined {
  const uri = "uri" in argument ? argument.uri : undefined;
  return vscode.workspace.textDocuments.find((document) => document.uri.toString() === uri)?.languageId;
}

function rangeOf({ start, end }: vscode.Range) {
  const plain = ({ line, character }: vscode.Position) => ({ line, character });
  return { start: plain(start), end: plain(end) };
}
