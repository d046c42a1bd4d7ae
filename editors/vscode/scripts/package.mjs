// Makes coder-lsp-VERSION.vsix: the bundled extension, and the server as a source distribution inside it.
//
// The server travels as source because it compiles llama.cpp for the processor it finds. Options:
//   --no-server   leave it out; the extension then installs what coder-lsp.server.package names
//   --out FILE    where to write the .vsix
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("..", import.meta.url));
const repository = resolve(here, "../..");
const dist = join(here, "dist");
const { version } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
const outOption = process.argv.indexOf("--out");
const out = outOption > 0 ? resolve(process.argv[outOption + 1]) : join(here, `coder-lsp-${version}.vsix`);

function run(command, args, cwd) {
  execFileSync(command, args, { cwd, stdio: ["ignore", "inherit", "inherit"] });
}

function works(command, args) {
  try {
    execFileSync(command, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** The repository as a .tar.gz that pip installs, by the build backend that pyproject.toml names. */
function sourceDistribution() {
  const own = join(repository, ".venv", "bin", "python");
  // The checkout's environment has the backend; what the backend's hook makes is what `python -m build` makes.
  const hook = `import sys; from scikit_build_core.build import build_sdist; print(build_sdist(sys.argv[1]))`;
  if (existsSync(own) && works(own, ["-c", "import scikit_build_core.build"])) {
    run(own, ["-c", hook, dist], repository);
    return;
  }
  const scratch = mkdtempSync(join(tmpdir(), "coder-lsp-build-"));
  try {
    run(process.env.PYTHON ?? "python3", ["-m", "venv", scratch], repository);
    const python = join(scratch, "bin", "python");
    run(python, ["-m", "pip", "install", "--quiet", "build"], repository);
    run(python, ["-m", "build", "--sdist", "--outdir", dist, repository], repository);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

mkdirSync(dist, { recursive: true });
for (const name of readdirSync(dist).filter((each) => each.endsWith(".tar.gz"))) {
  rmSync(join(dist, name));
}
if (!process.argv.includes("--no-server")) {
  sourceDistribution();
}
// Everything is bundled, so no folder of dependencies goes along; vsce runs vscode:prepublish, the production build.
const vsce = join(here, "node_modules", "@vscode", "vsce", "vsce");
run(process.execPath, [vsce, "package", "--no-dependencies", "--out", out], here);
console.log(`${out}: ${(statSync(out).size / 1e6).toFixed(1)} MB`);
