CREATE TABLE members_of_members (auction BIGINT, price BIGINT) WITH (${sink});

INSERT INTO members_of_members
SELECT auction, price FROM bid
WHERE price > 1000000 AND auction IN (
    SELECT id FROM auction WHERE seller IN (SELECT id FROM person WHERE state = 'OR'));
