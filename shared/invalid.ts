/** A field from outside that is missing or not allowed. */
export class InvalidField extends Error {
  /** Path as in the proto: "wants[0].exact_port". */
  readonly field: string;
  /** What is wrong with it and what would be right, for people. */
  readonly description: string;

  constructor(field: string, description: string) {
    super(`${field}: ${description}`);
    this.name = 'InvalidField';
    this.field = field;
    this.description = description;
  }
}
