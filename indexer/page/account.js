/**
 * Signing in with a wallet, beside the player's address: until then the address is only claimed.
 * Touches its own element; talks to wallets and to the relay through the client it is given. The session lives as long
 * as the page: a token that is stored could be stolen from where it is stored.
 */

import { FairscoreError, LocalKey, accountOf, canSeal, findWallets } from "./fairscore.js";
import { el } from "./view.js";

/** EIP-1193: the owner of the wallet declined. */
const USER_REJECTED = 4001;

export class Account {
  /** @type {import("./wallet.js").FoundWallet[]} */
  #wallets = [];
  /** @type {import("./wallet.js").Wallet|null} the one that signed in */
  #wallet = null;
  #player = "";
  /** @type {LocalKey|null} what signs scores for the wallet */
  #key = null;
  #timer = 0;
  /** Wallets that are listened to. */
  #heard = new WeakSet();

  /**
   * @param {HTMLElement} place
   * @param {import("./fairscore.js").Fairscore} client
   * @param {{onPlayer: (player: string|null) => void, announce: (text: string) => void}} listeners
   *   onPlayer: called with the address that signed in, and with null when the session is over
   */
  constructor(place, client, { onPlayer, announce }) {
    this.place = place;
    this.client = client;
    this.onPlayer = onPlayer;
    this.announce = announce;
    void this.#find();
  }

  /** @returns {import("./wallet.js").Wallet|null} the wallet of the session; null: nobody is signed in */
  get wallet() {
    return this.#wallet;
  }

  /**
   * What signs a score: a key of this page, to which the wallet delegates when it is first needed; the wallet itself
   * where the browser has no WebCrypto.
   * @param {AbortSignal} signal
   * @returns {Promise<{wallet: import("./wallet.js").Wallet, signer: string}|null>} null: nobody is signed in
   */
  async signer(signal) {
    const wallet = this.#wallet;
    if (wallet === null) return null;
    if (!canSeal()) return { wallet, signer: this.#player };
    if (this.#key === null) {
      const key = new LocalKey();
      await this.client.delegate(wallet, { player: this.#player, address: key.address, signal });
      this.#key = key;
    }
    return { wallet: this.#key, signer: this.#key.address };
  }

  async #find() {
    this.#wallets = await findWallets();
    this.#offer();
  }

  /** @param {string} [problem] */
  #offer(problem) {
    const [only, second] = this.#wallets;
    this.place.hidden = only === undefined;
    const named = (/** @type {string} */ name) => (second ? `Sign in with ${name}` : "Sign in with Ethereum");
    this.place.replaceChildren(
      ...this.#wallets.map(({ name, wallet }) =>
        el("button", {
          type: "button",
          class: "quiet",
          text: named(name),
          "data-tip": "Your wallet signs a text. That proves the address is yours; it costs nothing.",
          on: { click: () => void this.#signIn(wallet) },
        }),
      ),
      el("span", { class: "field-error", role: "alert", text: problem ?? "" }),
    );
  }

  /** @param {import("./wallet.js").Wallet} wallet */
  async #signIn(wallet) {
    this.place.replaceChildren(el("span", { class: "waiting", role: "status", text: "Waiting for the wallet…" }));
    try {
      const address = await accountOf(wallet);
      const { player, expiresAt } = await this.client.signIn(wallet, { address });
      this.#wallet = wallet;
      this.#signedIn(player, new Date(expiresAt));
    } catch (error) {
      const { code, message } = /** @type {any} */ (error);
      const reason = error instanceof FairscoreError ? error.reason : message;
      this.#offer(code === USER_REJECTED ? "The wallet did not sign." : `Not signed in: ${reason}`);
    }
  }

  /**
   * @param {string} player
   * @param {Date} expiresAt
   */
  #signedIn(player, expiresAt) {
    const until = expiresAt.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    this.place.replaceChildren(
      el("span", { class: "signed-in", text: `Signed in until ${until}` }),
      el("button", { type: "button", class: "quiet", text: "Sign out", on: { click: () => void this.#signOut() } }),
    );
    this.#player = player;
    this.announce(`Signed in as ${player}.`);
    this.onPlayer(player);
    this.#timer = setTimeout(() => this.#over("The session is over: sign in again."), +expiresAt - Date.now());
    this.#hear();
  }

  /** Another account in the wallet is another player (EIP-1193, `accountsChanged`). */
  #hear() {
    const wallet = /** @type {any} */ (this.#wallet);
    if (this.#heard.has(wallet)) return;
    this.#heard.add(wallet);
    wallet.on?.("accountsChanged", () => wallet === this.#wallet && void this.#signOut());
  }

  async #signOut() {
    if (this.#wallet === null) return;
    // Out of reach: then the token ends by itself; this page has forgotten it.
    await this.client.signOut({}).catch(() => (this.client.session = null));
    this.#over();
  }

  /** @param {string} [problem] */
  #over(problem) {
    clearTimeout(this.#timer);
    this.#wallet = this.#key = null;
    this.#offer(problem);
    this.onPlayer(null);
  }
}
