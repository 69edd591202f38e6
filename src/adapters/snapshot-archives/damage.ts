/** Why an archive is not what was written; a part of a sentence. */
export class Damage extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Damage';
  }
}
