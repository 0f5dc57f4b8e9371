// The part of a service worker's global scope that the client's worker uses. The compiler knows either pages or workers, and most
// of the client is a page.

interface Lasting extends Event {
  waitUntil(work: Promise<unknown>): void;
}

interface Tab {
  readonly focused: boolean;
  focus(): Promise<unknown>;
  postMessage(message: unknown): void;
}

interface Asked extends Lasting {
  readonly request: Request;
  respondWith(answer: Promise<Response>): void;
}

interface Told extends Lasting {
  readonly data: { kind?: string; lang?: unknown } | null;
  readonly source: { postMessage(message: unknown): void } | null;
}

interface Pushed extends Lasting {
  readonly data: { text(): string } | null;
}

interface Clicked extends Lasting {
  readonly notification: Notification;
}

interface Events {
  install: Lasting;
  activate: Lasting;
  fetch: Asked;
  message: Told;
  push: Pushed;
  notificationclick: Clicked;
}

export interface Scope {
  readonly location: Location;
  readonly navigator: { setAppBadge?(count: number): Promise<void> };
  readonly registration: {
    showNotification(title: string, options: NotificationOptions & { renotify: boolean }): Promise<void>;
    getNotifications(): Promise<Notification[]>;
  };
  readonly clients: {
    claim(): Promise<void>;
    matchAll(options: { type: 'window'; includeUncontrolled: true }): Promise<Tab[]>;
    openWindow(path: string): Promise<unknown>;
  };
  skipWaiting(): Promise<void>;
  addEventListener<N extends keyof Events>(name: N, listener: (event: Events[N]) => void): void;
}
