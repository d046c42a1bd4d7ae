/**
 * What a new user is asked: to get a server, then a model. Nothing is downloaded or installed without a yes.
 *
 * A "not now" holds until a newer version of the extension: the status bar item says what is missing all the time.
 */

import * as vscode from "vscode";
import { bundledServer, installedServer } from "./installed";
import { Cancelled, InstallFailed, type Installer } from "./installer";
import { chooseModel, missingModel, pull } from "./models";
import type { Model } from "./protocol";
import { SECTION } from "./protocol";
import type { Session } from "./session";
import { own } from "./settings";
import type { StateBoard } from "./state";
import { bytesInWords } from "./view";

const INSTALL = "Install";
const CHOOSE = "Choose a Path";
const NOT_NOW = "Not Now";
const DECLINED = "declinedServer";
const DECLINED_UPDATE = "declinedUpdate";
const WALKTHROUGH = "walkthroughShown";

export class FirstSteps {
  private askedForModel = false;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly session: Session,
    private readonly installer: Installer,
    private readonly board: StateBoard,
    private readonly output: vscode.LogOutputChannel,
  ) {}

  /** There is no server: say so, and ask what to do. */
  async askForServer(): Promise<void> {
    const version = this.version;
    if (this.context.globalState.get(DECLINED) === version) {
      return;
    }
    const { note } = this.board.current;
    const message = note
      ? `coder-lsp: ${note}.`
      : "coder-lsp needs its server. It can install it in a folder of its own; the first time compiles llama.cpp, which takes about ten minutes.";
    const answer = await vscode.window.showInformationMessage(message, INSTALL, CHOOSE, NOT_NOW);
    if (answer === INSTALL) {
      await this.install();
    } else if (answer === CHOOSE) {
      await this.choose();
    } else if (answer === NOT_NOW) {
      await this.context.globalState.update(DECLINED, version);
    }
  }

  /** The extension carries another server than the one it installed: offer it. */
  async askForUpdate(): Promise<void> {
    const installed = await installedServer(this.context);
    const bundled = await bundledServer(this.context);
    const inUse = this.session.program?.origin === "installed";
    const pinned = own("server.package", "") !== "";
    if (!inUse || pinned || !installed || !bundled || installed.source === bundled.digest) {
      return;
    }
    if (this.context.globalState.get(DECLINED_UPDATE) === bundled.digest) {
      return;
    }
    const answer = await vscode.window.showInformationMessage(
      `coder-lsp: this version of the extension brings another server (installed: ${installed.version}).`,
      "Update",
      NOT_NOW,
    );
    if (answer === "Update") {
      await this.install();
    } else if (answer === NOT_NOW) {
      await this.context.globalState.update(DECLINED_UPDATE, bundled.digest);
    }
  }

  /** Install with progress, then start what was installed. */
  async install(): Promise<void> {
    const before = this.board.current;
    try {
      await vscode.window.withProgress(
        { location: vscode.ProgressLocation.Notification, title: "coder-lsp: installing the server", cancellable: true },
        async (progress, token) => {
          const report = (message: string) => {
            progress.report({ message });
            if (!this.session.running) {
              this.board.update({ life: "installing", note: message });
            }
          };
          await this.installer.install(report, token);
        },
      );
    } catch (error) {
      this.board.update({ life: before.life, note: before.note });
      if (error instanceof Cancelled) {
        void vscode.window.showInformationMessage(
          "coder-lsp: the installation was cancelled. What was compiled is kept, so the next try is quicker.",
        );
      } else if (error instanceof InstallFailed) {
        await this.failed(error.message);
      } else {
        throw error;
      }
      return;
    }
    await this.context.globalState.update(DECLINED, undefined);
    await this.session.restart();
  }

  /** Let the user point at a program. */
  async choose(): Promise<void> {
    const [file] =
      (await vscode.window.showOpenDialog({
        title: "The coder-lsp program",
        openLabel: "Use This Server",
        canSelectMany: false,
      })) ?? [];
    if (file) {
      const configuration = vscode.workspace.getConfiguration(SECTION);
      await configuration.update("server.path", file.fsPath, vscode.ConfigurationTarget.Global);
    }
  }

  /** The server runs; without its model it can do nothing. Asked once in a window; false where nobody knows. */
  async askForModel(): Promise<boolean> {
    if (this.askedForModel) {
      return true;
    }
    let model: Model | undefined;
    try {
      model = await missingModel(this.session);
    } catch (error) {
      this.output.warn(`models are not known: ${String(error)}`);
      return false;
    }
    if (model === undefined) {
      return false;
    }
    this.askedForModel = true;
    if (this.board.current.server?.offline) {
      await this.sayOffline(model);
      return true;
    }
    const go = `Pull (${bytesInWords(model.bytes)})`;
    const answer = await vscode.window.showInformationMessage(
      `coder-lsp: the model ${model.name} is not on this machine yet.`,
      go,
      "Choose Another",
      NOT_NOW,
    );
    if (answer === go) {
      await pull(this.session, model);
    } else if (answer === "Choose Another") {
      await chooseModel(this.session);
    }
    return true;
  }

  /** The user's own setting keeps the model away: not a question, for the answer was given. */
  private async sayOffline(model: Model): Promise<void> {
    const answer = await vscode.window.showWarningMessage(
      `coder-lsp: the model ${model.name} is not on this machine, and offline mode keeps it from being pulled.`,
      "Open Settings",
      "Choose Another",
    );
    if (answer === "Open Settings") {
      await vscode.commands.executeCommand("workbench.action.openSettings", `${SECTION}.offline`);
    } else if (answer === "Choose Another") {
      await chooseModel(this.session);
    }
  }

  /** The introduction, once in a profile. */
  async openWalkthroughOnce(): Promise<void> {
    if (this.context.globalState.get(WALKTHROUGH)) {
      return;
    }
    await this.context.globalState.update(WALKTHROUGH, true);
    await openWalkthrough(this.context);
  }

  private get version(): string {
    return (this.context.extension.packageJSON as { version: string }).version;
  }

  private async failed(message: string): Promise<void> {
    const answer = await vscode.window.showErrorMessage(`coder-lsp: ${message}`, "Try Again", "Open Log");
    if (answer === "Try Again") {
      await this.install();
    } else if (answer === "Open Log") {
      this.output.show();
    }
  }
}

export async function openWalkthrough(context: vscode.ExtensionContext): Promise<void> {
  await vscode.commands.executeCommand("workbench.action.openWalkthrough", `${context.extension.id}#start`, false);
}

