/** Service definitions whose messages are checked for size and form, so that the caller learns what is wrong instead of INTERNAL. */
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { InvalidField } from '../../shared/invalid.js';

/** In place of a request that could not be read. */
class Unreadable {
  readonly problem: InvalidField;

  constructor(problem: InvalidField) {
    this.problem = problem;
  }
}

/** The message, or an exception (InvalidField) when it could not be read. */
export function readable<Message>(message: Message): Message {
  if (message instanceof Unreadable) throw message.problem;
  return message;
}

/** Requests of more than `maxBytes`, and bytes that are no such message, arrive as Unreadable: handlers ask `readable`. */
export function checked<Definition extends ServiceDefinition>(definition: Definition, maxBytes: number): Definition {
  const methods = Object.entries(definition).map(([name, method]) => [name, checkedMethod(method, maxBytes)] as const);
  return Object.fromEntries(methods) as unknown as Definition;
}

type AnyMethod = MethodDefinition<unknown, unknown>;

function checkedMethod(method: AnyMethod, maxBytes: number): AnyMethod {
  return {
    ...method,
    requestDeserialize: (bytes) => {
      if (bytes.length > maxBytes) return new Unreadable(new InvalidField('request', `has ${bytes.length} bytes; at most ${maxBytes} are allowed`));
      try {
        return method.requestDeserialize(bytes);
      } catch (error) {
        return new Unreadable(new InvalidField('request', `cannot be read: ${(error as Error).message}`));
      }
    },
  };
}
