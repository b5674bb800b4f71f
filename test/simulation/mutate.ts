/** A copy of the compiled program with one of the mutations, and a run of its simulation. */
import { spawn } from 'node:child_process';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageFile } from '../../shared/package-files.js';
import { MUTATIONS, type Mutation } from './mutations.js';

const FOLDERS = ['agent', 'coordinator', 'shared', 'test/simulation', 'test/support/stored-rows.js'];

export type Found = { exitCode: number | null; output: string };

/** Runs one seed after the other until one fails, or the steps are used up. */
export async function simulateMutant(mutation: Mutation): Promise<Found> {
  const dist = packageFile('dist');
  // Within the project, so that its dependencies are found.
  const copy = join(dist, 'mutants', mutation.name.replaceAll(/[^a-z]+/g, '-'));
  try {
    await mkdir(copy, { recursive: true });
    for (const folder of FOLDERS) await cp(join(dist, folder), join(copy, folder), { recursive: true });
    await edit(join(copy, mutation.file), mutation);
    return await run(join(copy, 'test/simulation/main.js'), ['--seed', String(mutation.seed ?? 1), '--steps', String(mutation.within), '--scope', mutation.scope ?? 'both', '--no-shrink']);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

async function edit(file: string, { name, edits }: Mutation): Promise<void> {
  let text = await readFile(file, 'utf8');
  for (const { find, replace } of edits) {
    const places = text.split(find).length - 1;
    if (places !== 1) throw new Error(`mutation "${name}": ${JSON.stringify(find)} stands in ${file} ${places} times, not once`);
    text = text.replace(find, () => replace);
  }
  await writeFile(file, text);
}

function run(program: string, argv: readonly string[]): Promise<Found> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
    const output: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
    child.on('error', reject);
    child.on('close', (exitCode) => resolve({ exitCode, output: Buffer.concat(output).toString() }));
  });
}

if (process.argv[1] === import.meta.filename) {
  for (const mutation of MUTATIONS.filter(({ name }) => process.argv[2] === undefined || name.includes(process.argv[2]))) {
    const { exitCode, output } = await simulateMutant(mutation);
    console.log(`${exitCode === 1 ? 'found ' : 'MISSED'} ${mutation.name}: ${output.split('\n').find((line) => line.startsWith('seed ')) ?? output.slice(-300)}`);
  }
}
