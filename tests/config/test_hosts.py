"""Files as the hosts have them load as they stand."""

from __future__ import annotations

from pathlib import Path

from tests.config.parts import oauth, program
from trio_mcp import StdioServer
from trio_mcp.config import load_servers

ENV = {"HOME": "/home/me", "TOKEN": "t0ken"}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_claude_desktop(tmp_path: Path) -> None:
    file = write(
        tmp_path / "claude_desktop_config.json",
        """
        {
          "globalShortcut": "Ctrl+Space",
          "mcpServers": {
            "filesystem": {
              "command": "npx",
              "args": ["-y", "@modelcontextprotocol/server-filesystem", "/home/me/Desktop"]
            },
            "github": {
              "command": "docker",
              "args": ["run", "-i", "--rm", "-e", "GITHUB_TOKEN", "ghcr.io/github/github-mcp-server"],
              "env": {"GITHUB_TOKEN": "secret"}
            }
          }
        }
        """,
    )
    servers = load_servers(file, env=ENV)
    assert list(servers) == ["filesystem", "github"]
    assert servers["filesystem"].target == StdioServer(
        "npx", ("-y", "@modelcontextprotocol/server-filesystem", "/home/me/Desktop")
    )
    assert program(servers["github"]).env == {"GITHUB_TOKEN": "secret"}
    assert "secret" not in repr(servers)


def test_claude_code(tmp_path: Path) -> None:
    file = write(
        tmp_path / ".mcp.json",
        """
        {
          "mcpServers": {
            "api": {
              "type": "http",
              "url": "${API_BASE_URL:-https://api.example.com}/mcp",
              "headers": {"Authorization": "Bearer ${TOKEN}"},
              "timeout": 600000,
              "alwaysLoad": true
            },
            "events": {"type": "sse", "url": "https://events.example.com/sse"},
            "login": {
              "type": "http",
              "url": "https://login.example.com/mcp",
              "oauth": {"clientId": "me", "callbackPort": 8080, "scopes": "a b"}
            },
            "local": {"type": "stdio", "command": "./server.py", "args": [], "env": {}, "cwd": "tools"}
          }
        }
        """,
    )
    servers = load_servers(file, env=ENV, milliseconds=True)
    assert servers["api"].target == "https://api.example.com/mcp"
    assert servers["api"].options == {"headers": {"Authorization": "Bearer t0ken"}, "timeout": 600}
    assert servers["events"].options == {"transport": "sse"}
    auth = oauth(servers["login"])
    assert (auth.client_id, auth.callback_port, auth.scope) == ("me", 8080, "a b")
    assert servers["local"].target == StdioServer("./server.py", cwd=tmp_path / "tools")


def test_vs_code(tmp_path: Path) -> None:
    file = write(
        tmp_path / ".vscode" / "mcp.json",
        """
        {
          // What a person is asked for
          "inputs": [
            {"type": "promptString", "id": "key", "description": "The key", "password": true},
            {"type": "pickString", "id": "mode", "options": ["a", "b"], "default": "b"},
          ],
          "servers": {
            "remote": {
              "type": "http",
              "url": "https://api.example.com/mcp",
              "headers": {"Authorization": "Bearer ${input:key}", "X-Mode": "${input:mode}"},
            },
            "local": {
              "type": "stdio",
              "command": "node",
              "args": ["${workspaceFolder}/server.js", "${userHome}/data"],
              "env": {"LEVEL": 3, "DEBUG": null, "FROM_FILE": null},
              "envFile": "${workspaceFolder}/.env",
              "cwd": ".",
              "dev": {"watch": "**/*.js", "debug": {"type": "node"}},
              "sandboxEnabled": false,
            },
          },
        }
        """,
    )
    write(tmp_path / ".env", "LEVEL=1\nOTHER='from the file'\nFROM_FILE=x\n")
    servers = load_servers(file, env=ENV, inputs={"key": "k3y"})
    assert servers["remote"].options == {"headers": {"Authorization": "Bearer k3y", "X-Mode": "b"}}
    assert servers["local"].target == StdioServer(
        "node",
        (f"{tmp_path}/server.js", "/home/me/data"),
        env={"LEVEL": "3", "OTHER": "from the file"},
        cwd=tmp_path,
    )


def test_the_settings_of_vs_code(tmp_path: Path) -> None:
    text = '{"editor.fontSize": 12, "mcp": {"inputs": [], "servers": {"a": {"command": "x"}}}}'
    assert list(load_servers(write(tmp_path / "settings.json", text), env={})) == ["a"]


def test_cursor(tmp_path: Path) -> None:
    file = write(
        tmp_path / ".cursor" / "mcp.json",
        """
        {
          "mcpServers": {
            "old": {"url": "http://localhost:3000/sse", "env": {"API_KEY": "value"}},
            "local": {"command": "python", "args": ["${workspaceFolder}/s.py"], "env": {"K": "${env:TOKEN}"}},
            "login": {
              "url": "https://api.example.com/mcp",
              "auth": {"CLIENT_ID": "${env:TOKEN}", "CLIENT_SECRET": "secret", "scopes": ["read", "write"]}
            }
          }
        }
        """,
    )
    servers = load_servers(file, env=ENV)
    assert servers["old"].target == "http://localhost:3000/sse"
    assert servers["old"].options == {}
    assert servers["local"].target == StdioServer("python", (f"{tmp_path}/s.py",), env={"K": "t0ken"})
    auth = oauth(servers["login"])
    assert (auth.client_id, auth.client_secret, auth.scope) == ("t0ken", "secret", "read write")


def test_windsurf_kiro_cline_and_roo_code(tmp_path: Path) -> None:
    file = write(
        tmp_path / ".kiro" / "settings" / "mcp.json",
        """
        {
          "mcpServers": {
            "windsurf": {"serverUrl": "https://a.example.com/mcp", "headers": {"X": "${env:TOKEN}"}},
            "kiro": {
              "url": "https://b.example.com/mcp", "oauth": {"oauthScopes": ["a"]}, "oauthScopes": ["a"],
              "disabled": false, "autoApprove": ["*"], "disabledTools": []
            },
            "cline": {
              "type": "streamableHttp", "url": "https://c.example.com/mcp", "timeout": 60,
              "autoApprove": ["x"], "disabled": true
            },
            "cline before": {"transportType": "stdio", "command": "node", "cwd": "x"},
            "roo": {
              "type": "streamable-http", "url": "https://d.example.com/mcp", "alwaysAllow": ["x"],
              "watchPaths": ["x"], "timeout": 3600
            }
          }
        }
        """,
    )
    servers = load_servers(file, env=ENV)
    assert list(servers) == ["windsurf", "kiro", "cline before", "roo"]
    assert servers["windsurf"].target == "https://a.example.com/mcp"
    assert oauth(servers["kiro"]).scope == "a"
    assert servers["kiro"].tools is None
    assert program(servers["cline before"]).cwd == tmp_path / "x"
    assert servers["roo"].tools is None
    assert servers["roo"].options == {"transport": "streamable-http", "timeout": 3600}
    assert "cline" in load_servers(file, env=ENV, include_disabled=True)


def test_gemini_copilot_and_zed(tmp_path: Path) -> None:
    gemini = write(
        tmp_path / ".gemini" / "settings.json",
        """
        {
          "theme": "dark",
          "mcp": {"allowed": ["a"]},
          "mcpServers": {
            "a": {
              "httpUrl": "https://a.example.com/mcp", "timeout": 5000, "trust": true,
              "includeTools": ["x", "y"], "excludeTools": ["y"], "oauth": {"enabled": false}
            }
          }
        }
        """,
    )
    copilot = write(
        tmp_path / "copilot.json",
        """{"mcpServers": {
          "all": {"type": "local", "command": "x", "args": [], "tools": ["*"]},
          "none": {"type": "http", "url": "https://b.example.com/mcp", "tools": []}
        }}""",
    )
    zed = write(
        tmp_path / "zed.json",
        '{"context_servers": {"z": {"source": "custom", "enabled": true, "command": "x"}}}',
    )
    a = load_servers(gemini, env={}, milliseconds=True)["a"]
    assert a.target == "https://a.example.com/mcp"
    assert (a.allows("x"), a.allows("y"), a.allows("z")) == (True, False, False)
    assert a.options == {"timeout": 5}
    tools = [server.tools for server in load_servers(copilot, env={}).values()]
    assert tools == [None, frozenset()]
    assert load_servers(zed, env={})["z"].target == StdioServer("x")


def test_mcp_use_and_fastmcp(tmp_path: Path) -> None:
    file = write(
        tmp_path / "config.json",
        """
        {
          "mcpServers": {
            "stdio": {"command": "npx", "args": ["x"], "env": {"A": "1"}},
            "http": {
              "url": "https://a.example.com/mcp", "headers": {"X": "1"}, "auth": "t0ken",
              "timeout": 10, "sse_read_timeout": 600
            },
            "websocket": {"ws_url": "wss://b.example.com/mcp", "headers": {"X": "1"}, "auth": "t0ken"},
            "fastmcp": {
              "url": "https://c.example.com/mcp", "transport": "streamable-http", "auth": "oauth",
              "description": "x", "icon": "y"
            }
          }
        }
        """,
    )
    servers = load_servers(file, env={})
    assert servers["stdio"].target == StdioServer("npx", ("x",), env={"A": "1"})
    assert servers["http"].options == {
        "headers": {"X": "1"},
        "auth": "t0ken",
        "timeout": 10,
        "sse_read_timeout": 600,
    }
    assert servers["websocket"].target == "wss://b.example.com/mcp"
    assert servers["websocket"].options == {"headers": {"X": "1"}, "auth": "t0ken"}
    assert servers["fastmcp"].options["transport"] == "streamable-http"
    oauth(servers["fastmcp"])
