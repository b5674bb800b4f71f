/** Collects all that is wrong with a request, so that the caller learns it at once. */
import { InvalidField } from '../../shared/invalid.js';
import { shown } from '../../shared/fields.js';
import { isDnsLabel } from '../../shared/names.js';
import { InvalidRequest } from './errors.js';

const MAX_VIOLATIONS = 100;

export class Checks {
  readonly #violations: InvalidField[] = [];

  get ok(): boolean {
    return this.#violations.length === 0;
  }

  add(field: string, description: string): void {
    if (this.#violations.length < MAX_VIOLATIONS) this.#violations.push(new InvalidField(field, description));
  }

  /** What `parse` returns; `otherwise` when it throws InvalidField, which is noted. */
  take<T>(parse: () => T, otherwise: T): T {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof InvalidField)) throw error;
      this.add(error.field, error.description);
      return otherwise;
    }
  }

  label(value: string, field: string, max = 63): string {
    if (!isDnsLabel(value, max)) this.#addLabel(value, field, max);
    return value;
  }

  /** A filter: empty or a DNS label. */
  optionalLabel(value: string, field: string): string {
    if (value !== '') this.label(value, field);
    return value;
  }

  #addLabel(value: string, field: string, max: number): void {
    const wanted = `1-${max} characters of a-z 0-9 -, not - at either end`;
    this.add(field, value === '' ? 'is missing' : `${shown(value)} is not a DNS label: ${wanted}`);
  }

  /** Throws InvalidRequest with all that was noted. */
  done(): void {
    if (this.#violations.length > 0) throw new InvalidRequest(this.#violations);
  }
}
