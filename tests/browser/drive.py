"""A headless browser with a virtual authenticator, driven line by line from standard input.

Each line is JSON, and each is answered with a line of JSON: {"do": "authenticator", "prf": true}, {"do": "show", "url": ...},
{"do": "press", "what": CSS selector}. What the page says is the text of its element "said".
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import websocket

TIME = 30


class Browser:
    def __init__(self, program, folder):
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = Path(folder, "DevToolsActivePort")
        until = time.monotonic() + TIME
        while not (told.exists() and told.read_text().count("\n")):
            if time.monotonic() > until or self.process.poll() is not None:
                raise RuntimeError("the browser does not start")
            time.sleep(0.05)
        port = told.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            page = next(it for it in json.load(answer) if it["type"] == "page")
        self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=TIME)
        self.number = 0
        self.authenticator = None
        self.call("WebAuthn.enable")

    def call(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self.socket.recv())
            if told.get("id") == self.number:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']}")
                return told["result"]

    def evaluate(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def use_authenticator(self, prf):
        if self.authenticator:
            self.call("WebAuthn.removeVirtualAuthenticator", authenticatorId=self.authenticator)
        self.authenticator = self.call("WebAuthn.addVirtualAuthenticator", options={
            "protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "internal", "hasResidentKey": True,
            "hasUserVerification": True, "isUserVerified": True, "hasPrf": prf})["authenticatorId"]

    def said(self):
        until = time.monotonic() + TIME
        while time.monotonic() < until:
            said = self.evaluate("document.getElementById('said')?.textContent")
            if said:
                return said
            time.sleep(0.05)
        raise RuntimeError("the page says nothing")

    def do(self, line):
        if line["do"] == "authenticator":
            self.use_authenticator(line["prf"])
            return {}
        if line["do"] == "show":
            self.call("Page.navigate", url=line["url"])
            return {"said": self.said(), "version": self.call("Browser.getVersion")["product"]}
        if line["do"] == "press":
            pressed = self.evaluate(f"""(() => {{
                const it = document.querySelector({json.dumps(line["what"])});
                if (!it) return false;
                document.getElementById('said').textContent = '';
                it.click();
                return true;
            }})()""")
            if not pressed:
                raise RuntimeError(f"there is no {line['what']}")
            return {"said": self.said()}
        raise RuntimeError(f"nobody knows how to {line['do']}")


def main():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(sys.argv[1], folder)
        try:
            for line in sys.stdin:
                print(json.dumps(browser.do(json.loads(line))), flush=True)
        finally:
            browser.process.kill()
            browser.process.wait()


main()
