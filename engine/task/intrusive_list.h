// A doubly linked list through its elements: no allocation, an element unlinks itself when it is
// destroyed, and a destroyed list leaves its elements unlinked.
#pragma once

namespace ringtail::task {

class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { Unlink(); }

  bool linked() const { return next_ != nullptr; }

  void Unlink() {
    if (next_ == nullptr) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = nullptr;
  }

 private:
  template <class T>
  friend class IntrusiveList;
  ListNode* next_ = nullptr;
  ListNode* prev_ = nullptr;
};

// T derives from ListNode. Elements are not owned.
template <class T>
class IntrusiveList {
 public:
  IntrusiveList() { head_.next_ = head_.prev_ = &head_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  ~IntrusiveList() {
    while (!empty()) front().Unlink();
  }

  bool empty() const { return head_.next_ == &head_; }
  T& front() { return *static_cast<T*>(head_.next_); }

  void PushBack(T& element) {
    ListNode& node = element;
    node.prev_ = head_.prev_;
    node.next_ = &head_;
    head_.prev_->next_ = &node;
    head_.prev_ = &node;
  }

  T* PopFront() {
    if (empty()) return nullptr;
    T& first = front();
    first.Unlink();
    return &first;
  }

  // Moves all elements to the back of `to`.
  void MoveTo(IntrusiveList& to) {
    while (T* element = PopFront()) to.PushBack(*element);
  }

  // `visit` must not unlink any element but the one it is given.
  template <class Visit>
  void ForEach(Visit visit) {
    for (ListNode* node = head_.next_; node != &head_;) {
      ListNode* next = node->next_;
      visit(*static_cast<T*>(node));
      node = next;
    }
  }

 private:
  ListNode head_;
};

}  // namespace ringtail::task
