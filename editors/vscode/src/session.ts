/**
 * The language client: starts the server, keeps it alive, hands its notifications on, and runs its commands.
 *
 * A new client is made for every start. Restarting is done here and not by the client library, which starts again at
 * once, as often as it takes, and shows a message of its own.
 */

import * as path from "node:path";
import { setTimeout as setTimeoutPromise } from "node:timers/promises";
import * as vscode from "vscode";
import {
  CancellationToken,
  CloseAction,
  DidChangeConfigurationNotification,
  ErrorAction,
  ExecuteCommandRequest,
  LanguageClient,
  MessageType,
  RevealOutputChannelOn,
  ShowMessageNotification,
  State as ClientState,
  type DocumentSelector,
  type ExecuteCommandParams,
  type LanguageClientOptions,
  type Middleware,
  type ServerOptions,
} from "vscode-languageclient/node";
import { Backoff } from "./backoff";
import { isServer, locateServer, type Server } from "./locate";
import { Method, SECTION, ServerCommand, type Preview, type ServerStatus } from "./protocol";
import { explicitSettings, isDisabledHere, own, serverKeys } from "./settings";
import { setContext, type StateBoard } from "./state";

/** Documents that get suggestions. Cells are documents of their own; vscode-vfs is a repository that is not on disk. */
const SCHEMES = ["file", "untitled", "vscode-notebook-cell", "vscode-vfs"];

const DOCUMENTS: DocumentSelector = SCHEMES.map((scheme) => ({ scheme }));

/** How long a server that is starting may keep the end of it waiting. */
const STOP_MS = 5000;

/** Runs a command of the server in our way, given the argument of a code action. */
export type Handler = (argument: object) => Promise<unknown>;

export type Progress = (message: string, share: number | undefined) => void;

/** The server does not run; in words for the user. */
export class NotRunning extends Error {
  constructor() {
    super("The server does not run. Restart it, or look at its log.");
  }
}

/** Writes its errors into the log. The library would also show them, one a start that failed, with nothing to do. */
class QuietClient extends LanguageClient {
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }
}

export class Session implements vscode.Disposable {
  private client: LanguageClient | undefined;
  private server: Server | undefined;
  private generation = 0;
  private readonly pulls = new Set<Progress>();
  private restartTimer: NodeJS.Timeout | undefined;
  private ended = -1;
  private begun: Promise<void> = Promise.resolve();
  private readonly backoff = new Backoff();
  private readonly keys: string[];
  private readonly handlers = new Map<string, Handler>();
  private readonly previewed = new vscode.EventEmitter<Preview>();
  private readonly started = new vscode.EventEmitter<undefined>();
  private readonly gaveUp = new vscode.EventEmitter<string>();
  private readonly said = new vscode.EventEmitter<{ type: MessageType; message: string }>();
  /** The server is there and has taken up the pauses of this window. */
  readonly onDidStart = this.started.event;
  /** It ended too often, or could not be started at all. */
  readonly onDidGiveUp = this.gaveUp.event;
  /** What the server wants the user to read. */
  readonly onDidSay = this.said.event;
  /** What a command that was given an id has come to so far. */
  readonly onDidPreview = this.previewed.event;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly output: vscode.LogOutputChannel,
    private readonly board: StateBoard,
  ) {
    this.keys = serverKeys(context.extension);
  }

  get running(): boolean {
    return this.client?.state === ClientState.Running;
  }

  /** The program that runs, or would; undefined before the first start and where there is none. */
  get program(): Server | undefined {
    return this.server;
  }

  get logFile(): vscode.Uri {
    return vscode.Uri.joinPath(this.context.logUri, "server.log");
  }

  /** Find a server and start it. False: there is none, and the board says why. */
  async start(): Promise<boolean> {
    clearTimeout(this.restartTimer);
    await this.stop();
    const generation = this.generation;
    const found = await locateServer(this.context);
    if (generation !== this.generation) {
      return true; // another start has overtaken this one
    }
    if (!isServer(found)) {
      this.server = undefined;
      this.board.update({ life: "none", note: found.reason, server: undefined });
      return false;
    }
    this.server = found;
    this.board.update({ life: this.board.current.life === "restarting" ? "restarting" : "starting", note: "", server: undefined });
    this.output.info(`starting ${found.command} (${found.origin})`);
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const client = new QuietClient(SECTION, "coder-lsp", this.serverOptions(found), this.clientOptions(generation, end));
    this.client = client;
    client.onNotification(Method.status, (status: ServerStatus) => {
      if (generation === this.generation) {
        this.board.update({ server: status });
      }
    });
    client.onNotification(Method.preview, (preview: Preview) => {
      if (generation === this.generation) {
        this.previewed.fire(preview);
      }
    });
    const starting = client.start();
    // The library's promise stays open for ever where the process ends before it has answered.
    this.begun = Promise.race([starting.catch(() => undefined), ended]);
    try {
      await Promise.race([starting, ended.then(fail)]);
    } catch (error) {
      if (generation === this.generation) {
        this.crashed(generation, startFailure(error));
      }
      return true;
    }
    if (generation !== this.generation) {
      return true;
    }
    // The library's own would show the message without a way on.
    client.onNotification(ShowMessageNotification.type, (message) => {
      this.said.fire(message);
    });
    this.board.update({ life: "running", note: "" });
    for (const scope of this.board.paused) {
      await this.execute(ServerCommand.pause, scope === null ? [] : [scope]).catch(() => undefined);
    }
    this.started.fire(undefined);
    return true;
  }

  async stop(): Promise<void> {
    clearTimeout(this.restartTimer);
    this.generation += 1;
    const client = this.client;
    this.client = undefined;
    if (client === undefined) {
      return;
    }
    // A client that is starting refuses to be stopped.
    await Promise.race([this.begun, setTimeoutPromise(STOP_MS)]);
    try {
      await client.dispose();
    } catch {
      // It did not run, ended while it was told to, or never answered.
      client.serverProcess?.kill();
    }
  }

  /** Start anew, whatever happened before. */
  async restart(): Promise<boolean> {
    this.backoff.forget();
    return this.start();
  }

  /**
   * Run a command of the server. `progress` hears of what is pulled meanwhile.
   *
   * @throws NotRunning, ResponseError with one line for the user
   */
  async execute<T>(
    command: string,
    args: unknown[] = [],
    token?: vscode.CancellationToken,
    progress?: Progress,
  ): Promise<T> {
    const client = this.client;
    if (client?.state !== ClientState.Running) {
      throw new NotRunning();
    }
    const params: ExecuteCommandParams = { command, arguments: args };
    if (progress) {
      this.pulls.add(progress);
    }
    try {
      return (await client.sendRequest(ExecuteCommandRequest.type, params, token)) as T;
    } finally {
      if (progress) {
        this.pulls.delete(progress);
      }
    }
  }

  /** Tell the server something; nothing happens where it does not run. */
  notify(method: string, params: unknown): void {
    if (this.client?.state === ClientState.Running) {
      this.client.sendNotification(method, params).catch(() => undefined);
    }
  }

  /** Have commands that code actions name run by us instead of by the library. */
  handle(command: string, handler: Handler): vscode.Disposable {
    this.handlers.set(command, handler);
    return new vscode.Disposable(() => this.handlers.delete(command));
  }

  /** Whether this document is one that the server knows. */
  knows(document: vscode.TextDocument): boolean {
    return SCHEMES.includes(document.uri.scheme);
  }

  dispose(): void {
    clearTimeout(this.restartTimer);
    vscode.Disposable.from(this.started, this.gaveUp, this.said, this.previewed).dispose();
  }

  /** What the server is given of the settings: for other programs that should run as it does. */
  explicit(): Record<string, unknown> {
    return explicitSettings(this.keys);
  }

  private serverOptions(server: Server): ServerOptions {
    const log = ["--log-file", this.logFile.fsPath, "--log-level", own("server.logLevel", "info")];
    return {
      command: server.command,
      args: [...server.args, "serve", ...log],
      // Not the workspace: nothing of it may be imported or executed by where we stand.
      options: { cwd: path.dirname(this.logFile.fsPath) },
    };
  }

  private clientOptions(generation: number, end: () => void): LanguageClientOptions {
    return {
      documentSelector: DOCUMENTS,
      outputChannel: this.output,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      initializationFailedHandler: () => false,
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: () => {
          end();
          if (generation === this.generation) {
            this.crashed(generation, "The server ended unexpectedly.");
          }
          return { action: CloseAction.DoNotRestart, handled: true };
        },
      },
      middleware: this.middleware(),
    };
  }

  private middleware(): Middleware {
    return {
      workspace: {
        configuration: (params) =>
          params.items.map((item) =>
            item.section === SECTION
              ? explicitSettings(this.keys, item.scopeUri === undefined ? undefined : vscode.Uri.parse(item.scopeUri))
              : null,
          ),
        // Without values: the server asks for them, and gets what was set and nothing else.
        didChangeConfiguration: async () => {
          await this.client?.sendNotification(DidChangeConfigurationNotification.type, { settings: null });
        },
      },
      handleRegisterCapability: async (params, next) => {
        // The library says yes to one that comes before it has finished starting, and forgets it.
        await this.begun;
        await next(params, CancellationToken.None);
      },
      provideInlineCompletionItems: (document, position, context, token, next) =>
        isDisabledHere(document) ? [] : next(document, position, context, token),
      handleWorkDoneProgress: (_token, params) => {
        // Loading and indexing are in our status bar item, and a pull has a notification of its own: the library would
        // show each of them once more. Only a pull can be cancelled, and only one that can be cancelled is a pull.
        if (params.kind === "report" && params.cancellable) {
          for (const progress of this.pulls) {
            progress(params.message ?? "", params.percentage);
          }
        }
      },
      executeCommand: async (command, args, next) => {
        if (command === ServerCommand.accepted) {
          setContext("accepted", true);
        }
        const handler = this.handlers.get(command);
        const argument: unknown = args[0];
        if (handler && typeof argument === "object" && argument !== null) {
          return handler(argument);
        }
        return (await next(command, args)) as unknown;
      },
    };
  }

  private crashed(generation: number, message: string): void {
    if (this.ended === generation) {
      return; // the end of the process and the failed start are one event
    }
    this.ended = generation;
    this.output.error(message);
    const delay = this.backoff.next();
    if (delay === undefined) {
      const note = `It ended ${String(this.backoff.count)} times within three minutes. ${message}`;
      this.board.update({ life: "failed", note, server: undefined });
      this.gaveUp.fire(note);
      return;
    }
    this.board.update({ life: "restarting", note: message, server: undefined });
    this.restartTimer = setTimeout(() => {
      if (generation === this.generation) {
        void this.start();
      }
    }, delay);
  }
}

function fail(): never {
  throw new Error("The server ended while it was starting.");
}

/** Why a start failed, for the user: a pipe that closed under the first message says only that the process is gone. */
function startFailure(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return /\b(EPIPE|ECONNRESET)\b/.test(message) ? "It ended before it answered; its log says why." : message;
}
