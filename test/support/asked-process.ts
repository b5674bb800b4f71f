/** A process that is asked line by line: a request is a JSON object with an id, and so is its answer, which may come after later ones. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

type Answer = { id: number; answer?: unknown; error?: string };

export class AskedProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #asked = 0;

  constructor(argv: readonly string[]) {
    const [file = '', ...args] = argv;
    this.#child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const answer = JSON.parse(line) as Answer;
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Throws an Error with the text of the answer's `error`. */
  async tell(request: Record<string, unknown>): Promise<unknown> {
    const id = ++this.#asked;
    const { answer, error } = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child.stdin?.write(`${JSON.stringify({ ...request, id })}\n`);
    });
    if (error !== undefined) throw new Error(error);
    return answer;
  }

  /** Ends its input, and waits for its end. */
  async close(): Promise<void> {
    const ended = once(this.#child, 'close');
    this.#child.stdin?.end();
    await ended;
  }
}
