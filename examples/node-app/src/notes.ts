// SPDX-License-Identifier: Apache-2.0
import { z } from "zod";

export const NewNote = z.object({
  title: z.string().trim().min(1).max(80),
  text: z.string().max(4000).default(""),
});

export interface Note extends z.infer<typeof NewNote> {
  id: number;
}

/** Notes kept in memory; the oldest go when there are more than `limit`. */
export class NoteBook {
  private notes = new Map<number, Note>();
  private nextId = 1;

  constructor(private readonly limit = 1000) {}

  add(input: unknown): Note {
    const note: Note = { id: this.nextId++, ...NewNote.parse(input) };
    this.notes.set(note.id, note);
    if (this.notes.size > this.limit) {
      const oldest = this.notes.keys().next().value;
      if (oldest !== undefined) this.notes.delete(oldest);
    }
    return note;
  }

  get(id: number): Note | undefined {
    return this.notes.get(id);
  }

  list(): Note[] {
    return [...this.notes.values()];
  }
}

export function greeting(name: string): string {
  return `Hello, ${name.trim() || "world"}!`;
}
