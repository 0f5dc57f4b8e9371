// @ts-check
// Whom a chat is with: a conversation, or a person before the first message.

import { laneOf } from '../../state/conversation.js';
import { avatar } from '../parts.js';
import { titleOf } from '../words.js';

/** @typedef {import('../shell.js').Conversation} Conversation */
/** @typedef {import('../../../types.d.ts').Profile} Profile */

export class Source {
  /** @type {Conversation | null} */
  conversation;
  /** @type {Profile | null} */
  #profile;

  /** @param {{conversation?: Conversation, profile?: Profile}} found one of the two */
  constructor({ conversation, profile }) {
    this.conversation = conversation ?? null;
    this.#profile = profile ?? null;
  }

  get lane() {
    return this.conversation ? laneOf(this.conversation) : `to:${this.#profile?.id}`;
  }

  get isGroup() {
    return this.conversation?.type === 'group';
  }

  // A group may hide what was said before one joined.
  get isHidden() {
    return Boolean(this.conversation?.first_n);
  }

  get peer() {
    return this.conversation ? this.conversation.peer : this.#profile;
  }

  get name() {
    return titleOf(this.conversation ?? { type: 'direct', title: null, peer: this.#profile });
  }

  get image() {
    return this.isGroup ? this.conversation?.image : this.peer?.profile_image;
  }

  face({ size = '', online = false } = {}) {
    const shape = [size, this.isGroup && 'group'].filter(Boolean).join('.');
    const id = this.isGroup ? this.conversation?.id : this.peer?.id;
    return avatar({ id, name: this.name, image: this.image, size: shape, online });
  }
}
