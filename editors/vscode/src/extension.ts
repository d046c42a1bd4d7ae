/** Where VS Code begins: makes the parts, wires them, registers the commands. */

import * as vscode from "vscode";
import { MessageType } from "vscode-languageclient/node";
import { showContext } from "./context";
import { doctor } from "./doctor";
import { FirstSteps, openWalkthrough } from "./firstSteps";
import { Focus } from "./focus";
import { Installer } from "./installer";
import { Instructions } from "./instructions";
import { showMenu } from "./menu";
import { chooseModel } from "./models";
import { Pages } from "./pages";
import { exists } from "./paths";
import { resumeHere, setPaused } from "./pause";
import { ServerCommand } from "./protocol";
import { Session } from "./session";
import { StateBoard } from "./state";
import { Statistics } from "./statistics";
import { StatusBar } from "./statusBar";

const OPEN_LOG = "Open Log";
const RESTART = "Restart";
const DOCTOR = "Run Doctor";

/** Settings that only a new process takes up. */
const NEEDS_RESTART = ["coder-lsp.server.path", "coder-lsp.server.logLevel"];

let session: Session | undefined;

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  await vscode.workspace.fs.createDirectory(context.logUri);
  await vscode.workspace.fs.createDirectory(context.globalStorageUri);
  const output = vscode.window.createOutputChannel("coder-lsp", { log: true });
  const board = new StateBoard();
  const client = new Session(context, output, board);
  session = client;
  const pages = new Pages();
  const instructions = new Instructions(client);
  const statistics = new Statistics(client);
  const installer = new Installer(context, output);
  const steps = new FirstSteps(context, client, installer, board, output);
  context.subscriptions.push(
    output,
    board,
    client,
    pages,
    instructions,
    statistics,
    installer,
    new StatusBar(board),
    new Focus(client),
  );

  const openLog = async () => {
    // The server's own log holds more than what it prints, and is there after it is gone.
    if (await exists(client.logFile.fsPath)) {
      await vscode.window.showTextDocument(client.logFile);
    } else {
      output.show();
    }
  };
  const start = async () => {
    if (await client.restart()) {
      await steps.askForUpdate();
    } else {
      await steps.askForServer();
    }
  };
  const restart = async () => {
    if (!client.running) {
      await start();
      return;
    }
    await vscode.window.withProgress(
      { location: vscode.ProgressLocation.Window, title: "coder-lsp: restarting" },
      async () => {
        await client.restart();
        if (client.running) {
          await client.execute(ServerCommand.restart);
        }
      },
    );
  };

  const command = (name: string, run: (uri?: vscode.Uri) => Promise<unknown>) => {
    context.subscriptions.push(
      vscode.commands.registerCommand(`coderLsp.${name}`, async (given?: unknown) => {
        try {
          await run(given instanceof vscode.Uri ? given : undefined);
        } catch (error) {
          await showFailure(error, output);
        }
      }),
    );
  };
  command("menu", () => showMenu(board));
  command("pause", () => setPaused(client, board, "everywhere", true));
  command("resume", () => setPaused(client, board, "everywhere", false));
  command("pauseLanguage", () => setPaused(client, board, "language", true));
  command("resumeLanguage", () => setPaused(client, board, "language", false));
  command("pauseFile", () => setPaused(client, board, "file", true));
  command("resumeFile", () => setPaused(client, board, "file", false));
  command("resumeHere", () => resumeHere(client, board));
  command("trigger", async () => {
    // From the palette or the walkthrough, the focus may be elsewhere.
    await vscode.commands.executeCommand("workbench.action.focusActiveEditorGroup");
    await vscode.commands.executeCommand("editor.action.inlineSuggest.trigger");
  });
  command("generate", () => instructions.run("generate"));
  command("generateOutlined", () => instructions.run("generate", true));
  command("rewrite", () => instructions.run("rewrite"));
  command("rewriteOutlined", () => instructions.run("rewrite", true));
  command("explain", () => instructions.run("explain"));
  command("writeTests", () => instructions.run("writeTests"));
  command("applyProposal", (uri) => instructions.proposals.apply(uri));
  command("discardProposal", (uri) => instructions.proposals.discard(uri));
  command("chooseModel", () => chooseModel(client));
  command("showContext", () => showContext(client, pages));
  command("statistics", () => statistics.show());
  command("refreshStatistics", () => statistics.refresh());
  command("deleteStatistics", () => statistics.delete());
  command("openLog", openLog);
  command("restart", restart);
  command("doctor", () => doctor(client, pages));
  command("installServer", () => steps.install());
  command("chooseServer", () => steps.choose());
  command("openSettings", async () => {
    await vscode.commands.executeCommand("workbench.action.openSettings", `@ext:${context.extension.id}`);
  });
  command("openWalkthrough", () => openWalkthrough(context));

  /** A message with a way on. Shown once: the same words again are in the status bar. */
  const offer = async (message: string, ...buttons: string[]) => {
    const answer = await vscode.window.showErrorMessage(`coder-lsp: ${message}`, ...buttons);
    if (answer === OPEN_LOG) {
      await openLog();
    } else if (answer === RESTART) {
      await restart();
    } else if (answer === DOCTOR) {
      await vscode.commands.executeCommand("coderLsp.doctor");
    }
  };
  const sayError = async (words: string) => {
    // A model that is not here is asked for; the message would be the same thing with nothing to click.
    if (!(words.includes("models pull") && (await steps.askForModel()))) {
      await offer(words, OPEN_LOG, DOCTOR);
    }
  };
  context.subscriptions.push(
    client.onDidStart(() => {
      void steps.askForModel().catch((error: unknown) => showFailure(error, output));
    }),
    client.onDidGiveUp((note) => {
      void offer(`the server does not run. ${note}`, RESTART, OPEN_LOG, DOCTOR);
    }),
    client.onDidSay(({ type, message }) => {
      const words = message.replace(/^coder-lsp: /, "");
      output.info(words);
      if (type === MessageType.Error) {
        void sayError(words).catch((error: unknown) => showFailure(error, output));
      } else if (type === MessageType.Warning) {
        void vscode.window.showWarningMessage(`coder-lsp: ${words}`);
      } else {
        void vscode.window.showInformationMessage(`coder-lsp: ${words}`);
      }
    }),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (NEEDS_RESTART.some((key) => event.affectsConfiguration(key))) {
        void start().catch((error: unknown) => showFailure(error, output));
      }
    }),
  );

  // Not awaited: VS Code waits for `activate`, and a question may stay open for long.
  void start().catch((error: unknown) => showFailure(error, output));
  void steps.openWalkthroughOnce();
}

export async function deactivate(): Promise<void> {
  await session?.stop();
}

async function showFailure(error: unknown, output: vscode.LogOutputChannel): Promise<void> {
  if (error instanceof vscode.CancellationError) {
    return;
  }
  const message = error instanceof Error ? error.message : String(error);
  output.error(error instanceof Error ? error : message);
  if ((await vscode.window.showErrorMessage(`coder-lsp: ${message}`, OPEN_LOG)) === OPEN_LOG) {
    output.show();
  }
}
