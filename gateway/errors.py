"""What may go wrong at the door, as problem documents (RFC 9457) with stable codes.

The only file that knows status codes. An expected refusal of the PDP is a value, never one of these.
Every code has a title in Chinese and English; `detail` says what is wrong with this very request.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of problem: HTTP status and its title in both languages."""

    status: int
    zh: str
    en: str


def _k(status: int, zh: str, en: str) -> Kind:
    return Kind(status=status, zh=zh, en=en)


#: code → kind. Codes never change once released; titles may be improved.
KINDS = MappingProxyType({
    "malformed_body": _k(400, "请求正文无法解析", "The body cannot be parsed"),
    "invalid_request": _k(422, "请求内容不符合接口约定", "The request does not fit the contract"),
    "unauthenticated": _k(401, "未提供有效凭证", "No valid credential was given"),
    "key_expired": _k(401, "密钥已过期", "The API key has expired"),
    "key_revoked": _k(401, "密钥已吊销", "The API key has been revoked"),
    "token_invalid": _k(401, "令牌无效", "The token is not valid"),
    "session_ended": _k(401, "登录已结束", "The session has ended"),
    "sign_in_refused": _k(401, "登录名、密码或验证码不正确", "Login, password or code is not right"),
    "locked": _k(429, "尝试次数过多,请稍后再试", "Too many attempts, try again later"),
    "address_refused": _k(403, "来源地址不在许可范围", "The address is outside the key's networks"),
    "scope_missing": _k(403, "权限范围不足", "The credential lacks the scope"),
    "role_missing": _k(403, "角色不符", "The person lacks the role"),
    "same_person": _k(403, "须由另一人办理", "Another person must do this"),
    "conflict_of_interest": _k(403, "利益冲突,须回避", "Conflict of interest"),
    "not_found": _k(404, "未找到", "Not found"),
    "method_not_allowed": _k(405, "不支持此方法", "The method is not allowed here"),
    "not_acceptable": _k(406, "无法提供所要求的格式", "No such representation"),
    "unknown_sample": _k(422, "样本编号不存在", "No such sample"),
    "unknown_term": _k(422, "术语不存在", "No such term"),
    "idempotency_conflict": _k(409, "幂等键已用于另一请求", "The idempotency key was used for another request"),
    "idempotency_key_missing": _k(400, "缺少幂等键", "An Idempotency-Key header is needed"),
    "state_conflict": _k(409, "当前状态不允许此操作", "The state does not allow this"),
    "already_done": _k(409, "已经办理", "This has been done already"),
    "precondition_required": _k(428, "须带 If-Match", "An If-Match header is needed"),
    "precondition_failed": _k(412, "内容已变化,请重新查看", "It has changed since you read it"),
    "not_releasable": _k(409, "当前不能发放", "Nothing can be released now"),
    "body_too_large": _k(413, "请求正文过大", "The body is too large"),
    "unsupported_media_type": _k(415, "不支持的内容类型", "The media type is not supported"),
    "too_many_requests": _k(429, "请求过于频繁", "Too many requests"),
    "decision_failed": _k(500, "未能作出判定,未放行任何内容", "No decision could be made, nothing was let out"),
    "internal": _k(500, "内部错误", "Internal error"),
    "outcome_unknown": _k(503, "提交结果未知,请用同一幂等键重试", "The outcome is unknown, retry with the same key"),
    "log_unavailable": _k(503, "日志不可写,拒绝放行", "The log cannot be written, nothing is let out"),
    "busy": _k(503, "系统繁忙,请稍后再试", "Busy, try again later"),
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing wrong with one place of the body (RFC 6901 pointer) or a parameter."""

    pointer: str
    detail: str


class ProblemError(Exception):
    """Something is wrong with what the caller asked; answered as a problem document."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: tuple[FieldError, ...] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.kind = KINDS[code]
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after

    def document(self, *, language: str, request_id: str, instance: str) -> dict[str, object]:
        """The problem document in `zh` or `en`; `type` resolves on the gateway itself."""
        return {
            "type": f"/problems/{self.code}",
            "title": self.kind.zh if language == "zh" else self.kind.en,
            "status": self.kind.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "request_id": request_id,
            "errors": [{"pointer": e.pointer, "detail": e.detail} for e in self.errors],
        }


class SettingsError(Exception):
    """The operator's settings, keys or files are not right; the start is refused with the reason."""


class HeldError(SettingsError):
    """The bank is being served by another process, which alone can do what was asked."""


class CommitUnknownError(Exception):
    """COMMIT did not answer: the unit may or may not be durable; the caller must ask again."""
