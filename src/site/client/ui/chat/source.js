// @ts-check
// Whom a chat is with: a conversation, or a person before the first message.

import { laneOf } from '../../state/conversation.js';
import { avatar } from '../parts.js';
import { titleOf } from '../words.js';

export class Source {
  /** @param {{conversation?: any, profile?: any}} found */
  constructor({ conversation = null, profile = null }) {
    this.conversation = conversation;
    this.profile = profile;
  }

  get lane() {
    return this.conversation ? laneOf(this.conversation) : `to:${this.profile.id}`;
  }

  get isGroup() {
    return this.conversation?.type === 'group';
  }

  get peer() {
    return this.conversation ? this.conversation.peer : this.profile;
  }

  get name() {
    return this.conversation ? titleOf(this.conversation) : this.profile.display_name;
  }

  get image() {
    return this.isGroup ? this.conversation.image : this.peer?.profile_image;
  }

  face({ size = '', online = false } = {}) {
    const shape = [size, this.isGroup && 'group'].filter(Boolean).join('.');
    const id = this.isGroup ? this.conversation.id : this.peer?.id;
    return avatar({ id, name: this.name, image: this.image, size: shape, online });
  }
}
