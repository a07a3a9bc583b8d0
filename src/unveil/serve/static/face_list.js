/* The list of faces below the picture: a line on each, its close-up, and its deletion. */

export class FaceList {
  /** `closeUp(index)` and `remove(index)` are called when a face's button is pressed. */
  constructor(list, { closeUp, remove }) {
    this.list = list;
    this.actions = { closeUp, remove };
  }

  /** Shows these lines; the face `close` fills the view. Lines that remain are not made again, so focus stays. */
  show(lines, close) {
    const { list } = this;
    const focused = list.contains(document.activeElement);
    while (list.children.length > lines.length) list.lastChild.remove();
    while (list.children.length < lines.length) list.append(this.#line(list.children.length));
    const several = lines.length > 1;
    [...list.children].forEach((line, i) => {
      const [text, closer, remover] = line.children;
      text.textContent = several ? `${i}: ${lines[i]}` : lines[i];
      closer.setAttribute("aria-pressed", String(i === close));
      closer.setAttribute("aria-label", several ? `Close-up of face ${i}` : "Close-up");
      remover.setAttribute("aria-label", several ? `Delete face ${i}` : "Delete face");
    });
    if (focused && !list.contains(document.activeElement)) (list.querySelector("li:last-child button") ?? list).focus();
  }

  #line(index) {
    const line = document.createElement("li");
    const text = document.createElement("span");
    line.append(text, button("Close-up", () => this.actions.closeUp(index)), button("Delete", () => this.actions.remove(index)));
    return line;
  }
}

function button(text, action) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", action);
  return made;
}
